"""Which variable fills which placeholder of a template: the plan by which `render` makes bodies.

What belongs here: `MessageSpec` and the way from a campaign's message to it. How values become text is `text`; whether
a campaign as a whole can run, with the lines of its file, is `check`: what is refused here is what must never reach a
body, should a template have changed since.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from journey.dates import date_pattern_problem
from journey.problems import Problem, ProjectError
from journey.template import MEDIA, Template, TemplateButton
from journey.variables import Variable

if TYPE_CHECKING:
    from journey.steps import TemplateMessage

NeedSource = Literal["user", "event"]
_Hole = tuple[str, str, str]  # field within the message, what is wrong, how to mend it


@dataclass(frozen=True)
class MessageSpec:
    """One template in one language, and what fills it.

    `header_kind` is image, video, document or text where the header is filled, with `header` (an address, or the text
    of the placeholder) and `filename` (documents only). `body` by placeholder, `buttons` by the button's index.
    """

    template: Template
    header_kind: str | None = None
    header: Variable | None = None
    filename: Variable | None = None
    body: Mapping[str, Variable] = field(default_factory=dict)
    buttons: Mapping[int, Variable] = field(default_factory=dict)

    def body_order(self) -> tuple[str, ...]:
        """The body's placeholders in the order of a request: positional ones by number, named ones as they appear."""
        names = self.template.body_placeholders
        return names if self.template.parameter_format == "NAMED" else tuple(sorted(names, key=_position))


def spec_for(
    message: "TemplateMessage", shared: Mapping[str, Variable], template: Template, *, file: str = "", path: str = ""
) -> MessageSpec:
    """Fills a template with a message's own variables and, where it has none of that name, the campaign's shared ones.

    Buttons are found by label (text) or position from 0 (int). `file` and `path` (`steps.offer.message`) say in
    findings where the message stands. Raises ProjectError with every hole: a placeholder, header or button that nothing
    fills; a variable, header or button value that the template has no place for; a template that Estafette cannot fill.
    """
    buttons, button_holes = _buttons(message, template)
    body = {**shared, **message.variables}
    holes = [*_template_holes(template), *_body_holes(message, body, template), *_header_holes(message, template)]
    holes += [*button_holes, *_format_holes(message, body, template)]
    if holes:
        prefix = f"{path}." if path else ""
        raise ProjectError([Problem(file, 0, prefix + place, what, mend) for place, what, mend in holes])
    header = message.header
    return MessageSpec(
        template=template,
        header_kind=header.kind if header is not None else None,
        header=header.value if header is not None else None,
        filename=header.filename if header is not None else None,
        body={name: body[name] for name in template.body_placeholders},
        buttons=buttons,
    )


def needs(spec: MessageSpec) -> set[tuple[NeedSource, str]]:
    """The properties that the frame of `render` must bring, each as the column `user.NAME` or `event.NAME`."""
    variables = [spec.header, spec.filename, *spec.body.values(), *spec.buttons.values()]
    return {
        (variable.source, variable.name) for variable in variables if variable is not None and variable.source != "text"
    }


def _position(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() else (10**9, name)


def _title(template: Template) -> str:
    return f"the template {template.name} ({template.language})"


def _template_holes(template: Template) -> Iterator[_Hole]:
    for part in template.unsupported:
        yield "template", f"{_title(template)} has {part}, which Estafette cannot fill", "Choose another template."


def _body_holes(message: "TemplateMessage", body: Mapping[str, Variable], template: Template) -> Iterator[_Hole]:
    for name in template.body_placeholders:
        if name not in body:
            what = f"nothing fills the placeholder {{{{{name}}}}} of {_title(template)}"
            yield f"variables.{name}", what, "Add a variable of this name."
    for name in message.variables:
        if name not in template.body_placeholders:
            what = f"{_title(template)} has no placeholder {{{{{name}}}}}"
            yield f"variables.{name}", what, "Remove the variable or correct its name."


def _header_holes(message: "TemplateMessage", template: Template) -> Iterator[_Hole]:
    has, wants = message.header, template.header
    kind = wants.format.lower() if wants is not None and (wants.format in MEDIA or wants.placeholders) else None
    if kind is not None and has is None:
        yield "header", f"nothing fills the {kind} header of {_title(template)}", f"Add header: {{{kind}: …}}."
    elif kind is None and has is not None:
        yield "header", f"the header of {_title(template)} has nothing to fill", "Remove `header`."
    elif has is not None and has.kind != kind:
        yield "header", f"{_title(template)} has a header of the kind {kind}", f"Write header: {{{kind}: …}}."
    elif has is not None and has.filename is not None and kind != "document":
        yield "header", "only a document has a file name", "Remove `filename`."


def _buttons(message: "TemplateMessage", template: Template) -> tuple[dict[int, Variable], list[_Hole]]:
    filled: dict[int, Variable] = {}
    holes: list[_Hole] = []
    for key, variable in message.buttons.items():
        button = _button(key, template)
        if button is None:
            holes.append((f"buttons.{key}", f"{_title(template)} has no button {key}", "Use its label or position."))
        elif not button.placeholders:
            holes.append((f"buttons.{key}", f"the button {button.text} has nothing to fill", "Remove it."))
        elif button.index in filled:
            holes.append((f"buttons.{key}", f"the button {button.text} is filled twice", "Keep one of the two."))
        else:
            filled[button.index] = variable
    for button in template.buttons:
        if button.placeholders and button.index not in filled:
            what = f"nothing fills the placeholder in the URL of the button {button.text} of {_title(template)}"
            holes.append((f"buttons.{button.text}", what, "Add it under `buttons`."))
    return dict(sorted(filled.items())), holes


def _button(key: str | int, template: Template) -> TemplateButton | None:
    return next((one for one in template.buttons if key == (one.index if isinstance(key, int) else one.text)), None)


def _format_holes(message: "TemplateMessage", body: Mapping[str, Variable], template: Template) -> Iterator[_Hole]:
    used = {f"variables.{name}": body[name] for name in template.body_placeholders if name in body}
    used |= {f"buttons.{key}": variable for key, variable in message.buttons.items()}
    if message.header is not None:
        used["header"] = message.header.value
        if message.header.filename is not None:
            used["header.filename"] = message.header.filename
    for place, variable in used.items():
        problem = date_pattern_problem(variable.format) if isinstance(variable.format, str) else None
        if problem is not None:
            yield f"{place}.format", problem, 'Write e.g. "%d/%m à %H:%M".'
