"""What fills a message: the plan by which `render` makes bodies, from a template or from free text.

What belongs here: the way from a campaign's message to `message_spec`, with every hole on it. Whether a campaign as a
whole can run, with the lines of its file, is `check`: what is refused here is what must never reach a body, should a
template have changed since.
"""

from collections.abc import Iterator, Mapping

from journey.braces import cut, names_in
from journey.dates import date_pattern_problem
from journey.message_spec import VOUCHER_NAME, CountedLink, Filling, MessageSpec, TextSpec, Voucher
from journey.problems import Problem, ProjectError
from journey.steps import Header, Link, TemplateMessage, TextMessage
from journey.template import Template, TemplateButton
from journey.variables import Variable

_Hole = tuple[str, str, str]  # field within the message, what is wrong, how to mend it


def spec_for(
    message: TemplateMessage, shared: Mapping[str, Variable], template: Template, *, file: str = "", path: str = ""
) -> MessageSpec:
    """Fills a template with a message's own variables and, where it has none of that name, the campaign's shared ones.

    Where the message has coupons, they fill the placeholder `voucher` and copy-code buttons. Buttons are found by label
    (text) or position from 0 (int). `file` and `path` (`steps.offer.message`) say in findings where the message stands.
    Raises ProjectError with every hole: a placeholder, header or button that nothing fills, or two things do; a
    variable, header, button value or coupons that the template has no place for; a template that Estafette cannot fill.
    """
    coupons = {VOUCHER_NAME: Voucher()} if message.coupons is not None else {}
    body: dict[str, Filling] = {**shared, **message.variables, **coupons}
    header, header_holes = _header(message, template)
    buttons, button_holes = _buttons(message, shared, template)
    holes = [*_template_holes(template), *_body_holes(message, body, template), *header_holes, *button_holes]
    holes += _format_holes(message, body, template)
    given = message.header
    spec = MessageSpec(
        template=template,
        header_kind=given.kind if given is not None else "text" if header is not None else None,
        header=header,
        filename=given.filename if given is not None else None,
        body={name: body[name] for name in template.body_placeholders if name in body},
        buttons=buttons,
        location=given.location if given is not None else None,
    )
    if coupons and not spec.takes_voucher:
        what = f"{_title(template)} has no {{{{{VOUCHER_NAME}}}}} and no button that copies a code"
        holes.append(("coupons", what, "Remove `coupons`, or choose another template."))
    _refuse(holes, file, path)
    return spec


def text_spec_for(
    message: TextMessage, shared: Mapping[str, Variable], language: str, *, file: str = "", path: str = ""
) -> TextSpec:
    """Fills a free text with a message's own variables and, where it has none of that name, the campaign's shared ones.

    Raises ProjectError with every hole: a placeholder that nothing fills, an own variable without a placeholder, a
    brace that stands alone, no text at all.
    """
    filled = {**shared, **message.variables}
    holes: list[_Hole] = []
    names: tuple[str, ...] = ()
    try:
        names = names_in(message.text)
    except ValueError as error:
        what, _, mend = str(error).partition("; ")
        holes.append(("text", what, f"{mend.capitalize()}."))
    if not message.text.strip():
        holes.append(("text", "there is no text", "Write what is to be said."))
    holes += _unfilled(names, message.variables, filled, "the text", "{%s}")
    used = {f"variables.{name}": filled[name] for name in names if name in filled}
    holes += _patterns(used)
    _refuse(holes, file, path)
    return TextSpec(message.text, {name: filled[name] for name in names}, language)


def _refuse(holes: list[_Hole], file: str, path: str) -> None:
    if holes:
        prefix = f"{path}." if path else ""
        raise ProjectError([Problem(file, 0, prefix + place, what, mend) for place, what, mend in holes])


def _title(template: Template) -> str:
    return f"the template {template.name} ({template.language})"


def _template_holes(template: Template) -> Iterator[_Hole]:
    for part in template.unsupported:
        yield "template", f"{_title(template)} has {part}, which Estafette cannot fill", "Choose another template."


def _body_holes(message: TemplateMessage, body: Mapping[str, Filling], template: Template) -> Iterator[_Hole]:
    if message.coupons is not None and VOUCHER_NAME in message.variables:
        what = f"the placeholder {{{{{VOUCHER_NAME}}}}} is filled twice, here and by `coupons`"
        yield f"variables.{VOUCHER_NAME}", what, "Keep one of the two."
    own = [name for name in message.variables if name != VOUCHER_NAME or message.coupons is None]
    yield from _unfilled(template.body_placeholders, own, body, _title(template), "{{%s}}")


def _unfilled(
    names: tuple[str, ...], own: Mapping[str, Variable] | list[str], filled: Mapping[str, object], of: str, form: str
) -> Iterator[_Hole]:
    for name in names:
        if name not in filled:
            what = f"nothing fills the placeholder {form % name} of {of}"
            yield f"variables.{name}", what, "Add a variable of this name."
    for name in own:
        if name not in names:
            what = f"{of} has no placeholder {form % name}"
            yield f"variables.{name}", what, "Remove the variable or correct its name."


def _header(message: TemplateMessage, template: Template) -> tuple[Filling | None, list[_Hole]]:
    """What fills the header's text or is its address (None for a location), and what is wrong."""
    has, wants, of = message.header, template.header, f"the header of {_title(template)}"
    if wants is None or (wants.format == "TEXT" and not wants.placeholders):
        return None, [("header", f"{of} has nothing to fill", "Remove `header`.")] if has is not None else []
    if message.coupons is not None and wants.placeholders == (VOUCHER_NAME,):
        twice = ("header", f"{of} is filled twice, here and by `coupons`", "Remove `header`.")
        return Voucher(), [twice] if has is not None else []
    return has.value if has is not None else None, list(_header_holes(has, wants.format.lower(), template))


def _header_holes(has: Header | None, kind: str, template: Template) -> Iterator[_Hole]:
    if has is None:
        yield "header", f"nothing fills the {kind} header of {_title(template)}", f"Add header: {{{kind}: …}}."
    elif has.kind != kind:
        yield "header", f"{_title(template)} has a header of the kind {kind}", f"Write header: {{{kind}: …}}."
    elif has.filename is not None and kind != "document":
        yield "header", "only a document has a file name", "Remove `filename`."


def _buttons(
    message: TemplateMessage, shared: Mapping[str, Variable], template: Template
) -> tuple[dict[int, Filling | CountedLink], list[_Hole]]:
    coupons = message.coupons is not None
    filled: dict[int, Filling | CountedLink] = {
        button.index: Voucher() for button in template.buttons if coupons and _takes_voucher(button)
    }
    holes: list[_Hole] = []
    for key, given in message.buttons.items():
        place, button = f"buttons.{key}", _button(key, template)
        if button is None:
            holes.append((place, f"{_title(template)} has no button {key}", "Use its label or position."))
        elif not button.takes_value or (isinstance(given, Link) and button.type != "URL"):
            holes.append((place, f"the button {button.text} has nothing to fill", "Remove it."))
        elif button.index in filled:
            by = ", here and by `coupons`" if isinstance(filled[button.index], Voucher) else ""
            holes.append((place, f"the button {button.text} is filled twice{by}", "Keep one of the two."))
        elif isinstance(given, Link):
            link, link_holes = _link(given, shared, place, coupons=coupons)
            filled[button.index] = link
            holes += link_holes
        else:
            filled[button.index] = given
    for button in template.buttons:
        if button.takes_value and button.index not in filled:
            if button.type == "URL":
                what = f"nothing fills the placeholder in the URL of the button {button.text} of {_title(template)}"
                mend = "Add it under `buttons`."
            else:
                what = f"nothing gives the code that the button {button.text} of {_title(template)} copies"
                mend = "Add `coupons`."
            holes.append((f"buttons.{button.text or button.index}", what, mend))
    return dict(sorted(filled.items())), holes


def _takes_voucher(button: TemplateButton) -> bool:
    return button.type == "COPY_CODE" or button.placeholders == (VOUCHER_NAME,)


def _link(link: Link, shared: Mapping[str, Variable], place: str, *, coupons: bool) -> tuple[CountedLink, list[_Hole]]:
    filled: dict[str, Filling] = {**shared, **({VOUCHER_NAME: Voucher()} if coupons else {}), **link.variables}
    names: tuple[str, ...] = ()
    holes: list[_Hole] = []
    try:
        names = names_in(link.url)
        start = cut(link.url)[0]
        if start.strip() and not start.lower().startswith(("http://", "https://")):
            holes.append((f"{place}.link", f"{link.url} is no public address", "Start it with https://."))
    except ValueError as error:
        what, _, mend = str(error).partition("; ")
        holes.append((f"{place}.link", what, f"{mend.capitalize()}."))
    holes += [
        (f"{place}.{where}", what, mend)
        for where, what, mend in _unfilled(names, link.variables, filled, "the link", "{%s}")
    ]
    return CountedLink(link.url, {name: filled[name] for name in names if name in filled}), holes


def _button(key: str | int, template: Template) -> TemplateButton | None:
    return next((one for one in template.buttons if key == (one.index if isinstance(key, int) else one.text)), None)


def _format_holes(message: TemplateMessage, body: Mapping[str, Filling], template: Template) -> Iterator[_Hole]:
    used: dict[str, object] = {f"variables.{name}": body[name] for name in template.body_placeholders if name in body}
    for key, given in message.buttons.items():
        if isinstance(given, Link):
            used |= {f"buttons.{key}.variables.{name}": one for name, one in given.variables.items()}
        else:
            used[f"buttons.{key}"] = given
    if (header := message.header) is not None:
        used |= {"header": header.value, "header.filename": header.filename}
        if header.location is not None:
            used |= {f"header.location.{name}": one for name, one in header.location}
    yield from _patterns(used)


def _patterns(used: Mapping[str, object]) -> Iterator[_Hole]:
    for place, variable in used.items():
        form = variable.format if isinstance(variable, Variable) else None
        problem = date_pattern_problem(form) if isinstance(form, str) else None
        if problem is not None:
            yield f"{place}.format", problem, 'Write e.g. "%d/%m à %H:%M".'
