"""How languages write numbers and name days: the decimal sign, and months and weekdays in full and in short.

What belongs here: data and its look-up. Names follow Unicode's CLDR, in the form that stands inside a date ("5 mars",
"lun. 5 mars"); a language that is not here gets English names. Language codes are Meta's (`fr`, `pt_BR`), in any case.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DateNames:
    """Months from January, weekdays from Monday; in full and in short."""

    months: tuple[str, ...]
    short_months: tuple[str, ...]
    days: tuple[str, ...]
    short_days: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _names(months: str, short_months: str, days: str, short_days: str) -> DateNames:
    return DateNames(_words(months), _words(short_months), _words(days), _words(short_days))


_DATE_NAMES = {
    "en": _names(
        "January February March April May June July August September October November December",
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        "Mon Tue Wed Thu Fri Sat Sun",
    ),
    "fr": _names(
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
        "lundi mardi mercredi jeudi vendredi samedi dimanche",
        "lun. mar. mer. jeu. ven. sam. dim.",
    ),
    "es": _names(
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "ene feb mar abr may jun jul ago sept oct nov dic",
        "lunes martes miércoles jueves viernes sábado domingo",
        "lun mar mié jue vie sáb dom",
    ),
    "de": _names(
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.",
        "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
        "Mo. Di. Mi. Do. Fr. Sa. So.",
    ),
    "it": _names(
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "gen feb mar apr mag giu lug ago set ott nov dic",
        "lunedì martedì mercoledì giovedì venerdì sabato domenica",
        "lun mar mer gio ven sab dom",
    ),
    "pt": _names(
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "jan. fev. mar. abr. mai. jun. jul. ago. set. out. nov. dez.",
        "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
        "seg. ter. qua. qui. sex. sáb. dom.",
    ),
    "nl": _names(
        "januari februari maart april mei juni juli augustus september oktober november december",
        "jan feb mrt apr mei jun jul aug sep okt nov dec",
        "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
        "ma di wo do vr za zo",
    ),
}

# CLDR's decimal sign where it is a comma, by base language; and the regions of these languages that write a point.
_COMMA = _words(
    "af az be bg bs ca cs da de el es et eu fi fr gl hr hu hy id is it ka kk ky lt lv mk nb nl nn no pl pt ro ru sk sl "
    "sq sr sv tr uk uz vi"
)
_POINT = _words("de_ch de_li es_419 es_cu es_do es_gt es_hn es_mx es_ni es_pa es_pe es_pr es_sv es_us it_ch")


def _code(language: str) -> str:
    return language.strip().replace("-", "_").lower()


def date_names(language: str) -> DateNames:
    """The names of months and weekdays in a language; English where it is not known."""
    return _DATE_NAMES.get(_code(language).partition("_")[0], _DATE_NAMES["en"])


def decimal_sign(language: str) -> str:
    """The sign between units and decimals: French 15,0; English 15.0."""
    code = _code(language)
    return "," if code not in _POINT and code.partition("_")[0] in _COMMA else "."


def language_of(region: str) -> str:
    """The language of a country (ISO 3166) where it has the country's own code (FR: fr); else English."""
    return region.lower() if region.lower() in _DATE_NAMES else "en"
