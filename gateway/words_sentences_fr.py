"""Les phrases écrites ailleurs en anglais, en français. Sentences that others write in English, in French.

What belongs here: details of skips, as a pass wrote them into the ledger, and what the gateway refuses; each is known
by its form. What is not known stays as it is, and the pages say that it is English.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

Written = str | Callable[[re.Match[str]], str]

_UNITS: Final = {"s": "s", "m": "min", "h": "h", "d": "j", "w": "sem."}
_KINDS: Final = {"image": "image", "video": "vidéo", "document": "document"}
_TAKEN: Final = {
    "JPEG or PNG": "JPEG ou PNG",
    "MP4 or 3GP": "MP4 ou 3GP",
    "text, PDF or a file of an Office program": "un texte, un PDF ou un fichier bureautique",
}


def french(text: str) -> str | None:
    """A sentence in French; None where its form is not known."""
    found = _by(_WHOLE, text)
    if found is not None:
        return found
    parts = [_by(_LACKS, one) for one in text.split("; ")]
    return None if None in parts else "\u00a0; ".join(one for one in parts if one is not None)


def _by(rules: Iterable[tuple[str, Written]], text: str) -> str | None:
    for pattern, written in rules:
        if found := re.fullmatch(pattern, text, re.DOTALL):
            return found.expand(written) if isinstance(written, str) else written(found)
    return None


def _place(text: str) -> str:
    """A place in a message as details name it: `variable name (user property first_name)`."""
    what, _, source = text.partition(" (")
    said = _by(_PLACES, what) or what
    return f"{said} ({_by(_SOURCES, source.removesuffix(')')) or source})" if source else said


def _trouble(text: str) -> str:
    """What keeps a file from being fetched."""
    return _by(_TROUBLES, text) or text


def _length(text: str) -> str:
    return re.sub(r"(\d+)([smhdw])", lambda one: f"{one[1]}\u00a0{_UNITS[one[2]]}", text)


def _type(found: re.Match[str]) -> str:
    said = f"son type est {found[1]}" if found[1] else "son serveur ne dit pas de type"
    return f"{said}\u00a0; WhatsApp prend {_TAKEN.get(found[2], found[2])}"


_AGAIN: Final = " Try again in a few seconds."

_WHOLE: Final[tuple[tuple[str, Written], ...]] = (
    # consent, and what Meta said before
    ("opted out of (everything|all)", "désinscription de tout"),
    ("opted out of marketing", "désinscription du marketing"),
    ("opted out of (?:everything|all) after the message was planned", "désinscription de tout, après coup"),
    ("opted out of marketing after the message was planned", "désinscription du marketing, après coup"),
    ("no opt-in", "aucun accord connu"),
    (
        "withdrawn by a contact file after the message was planned",
        "accord retiré par un fichier, après coup",
    ),
    (r"Meta said (\d+) of this phone", r"Meta a répondu \1 pour ce téléphone"),
    (
        r"Meta said (\d+) of this person in the last 24 hours",
        r"Meta a répondu \1 pour elle il y a moins de 24 heures",
    ),
    (
        r"Meta said (\d+) of this person after the message was planned",
        r"Meta a répondu \1 pour elle, après coup",
    ),
    ("Meta takes no marketing to numbers of the United States", "Meta refuse le marketing vers les États-Unis"),
    ("Meta no longer sends it", "Meta ne l’envoie plus"),
    # phones
    ("phone is missing", "le téléphone manque"),
    (r"phone (.*) is not E\.164 with \+", "le téléphone \\1 n’est pas au format E.164 avec +"),
    (
        r"the phone is missing or not E\.164 with \+",
        "le téléphone manque, ou n’est pas au format E.164 avec +",
    ),
    # time
    ("after the entry's not_after", "après le `not_after` de l’entrée"),
    ("held too long", "retenu trop longtemps"),
    ("held until it expired", "retenu jusqu’à son expiration"),
    ("held until it expired: (.*)", lambda one: f"retenu jusqu’à son expiration\u00a0: {french(one[1]) or one[1]}"),
    ("held by silent hours until it expired", "retenu par les heures de silence jusqu’à son expiration"),
    ("not sent before it expired", "pas parti avant son expiration"),
    (r"not one message to (.*) in the last 24 hours", r"aucun message à \1 dans les dernières 24 heures"),
    (
        r"last wrote to (.*) at (.* UTC), 24 hours ago or more",
        r"dernier message à \1 le \2, il y a 24 heures ou plus",
    ),
    (
        r"the 24 hours after the last message to (.*) are over",
        r"le dernier message à \1 date de plus de 24 heures",
    ),
    # limits and codes
    (
        r"(\d+) of at most (\d+) in (\w+) \((.*)\)",
        lambda one: f"{one[1]} sur {one[2]} au plus en {_length(one[3])} ({_by(_CAPS, one[4]) or one[4]})",
    ),
    (
        r"one of the (.*)% whom no marketing is sent \(holdout in estafette\.yaml\)",
        "parmi les \\1\u00a0% qu’aucun marketing n’atteint (`holdout` dans estafette.yaml)",
    ),
    (r"every free code of the pool (.*) has expired", r"tous les codes libres du lot \1 ont expiré"),
    (r"the pool (.*) has no free code left", r"le lot \1 n’a plus de code libre"),
    # media and texts
    (r"(https?://\S+): (.*)", lambda one: f"{one[1]}\u00a0: {_trouble(one[2])}"),
    (
        r"(.*) is not an http\(s\) address: (.*)",
        lambda one: f"{_place(one[1])}\u00a0: ce n’est pas une adresse http(s)\u00a0: {one[2]}",
    ),
    (
        r"the link of button (.*) is no http\(s\) address: (.*)",
        "le lien du bouton \\1 n’est pas une adresse http(s)\u00a0: \\2",
    ),
    (
        r"(.*) is no number from -(\d+) to (\d+): (.*)",
        lambda one: f"{_place(one[1])}\u00a0: pas un nombre de -{one[2]} à {one[3]}\u00a0: {one[4]}",
    ),
    (
        r"(.*) would have (\d+) characters; at most (\d+) are allowed",
        lambda one: f"{_place(one[1])} aurait {one[2]} caractères, pour {one[3]} au plus",
    ),
    # what the gateway refuses
    (f"(.*){re.escape(_AGAIN)}", lambda one: f"{french(one[1]) or one[1]} Réessayez dans quelques secondes."),
    (r"The ledger is busy\.", "Le registre est occupé."),
    (r"The ledger can't be used now \((.*)\)\.", r"Le registre est inutilisable pour l’instant (\1)."),
    (
        "The disk is full\\. .*",
        "Le disque est plein. Faites de la place\u00a0: rien n’est perdu, et personne ne reçoit de message deux fois.",
    ),
    (
        "The project's data can't be written: .*",
        "Les données du projet ne peuvent être écrites\u00a0: corrigez les droits ou le montage. Rien n’est perdu.",
    ),
    (
        "The ledger is damaged\\. .*",
        "Le registre est abîmé. Arrêtez tout, puis `estafette restore` avec la dernière sauvegarde.",
    ),
    (
        "The disk does not answer as it should, or is full\\. .*",
        "Le disque ne répond pas comme il faut, ou est plein\u00a0: voyez-le d’abord, puis `estafette doctor`.",
    ),
    (r"There is no estafette\.yaml in (.*)\.", r"Il n’y a pas d’estafette.yaml dans \1."),
    (
        r"estafette\.yaml can't be used; `estafette check` says why\.",
        "estafette.yaml est inutilisable\u00a0; `estafette check` dit pourquoi.",
    ),
    (r"Too many pages listen\.", "Trop de pages écoutent."),
    (r"The body did not come in time\.", "Le formulaire n’est pas arrivé à temps."),
    (r"The connection ended before the body\.", "La connexion s’est fermée avant la fin du formulaire."),
    (r"The body is too long: at most .* are taken\.", "Le formulaire est trop long."),
)

_LACKS: Final[tuple[tuple[str, Written], ...]] = (
    ("(.*) is empty and has no fallback", lambda one: f"{_place(one[1])}\u00a0: vide, et sans repli"),
    (
        "(.*) is empty or cannot be read by its format and has no fallback",
        lambda one: f"{_place(one[1])}\u00a0: vide ou illisible selon son format, et sans repli",
    ),
)

_PLACES: Final[tuple[tuple[str, Written], ...]] = (
    ("variable (.*)", r"la variable \1"),
    ("header (image|video|document)", lambda one: f"l’en-tête ({_KINDS[one[1]]})"),
    ("header .*|the header", "l’en-tête"),
    ("the document's file name", "le nom du document"),
    ("the location's (.*)", r"le lieu (\1)"),
    ("the URL of button (.*)", r"l’adresse du bouton \1"),
    ("the code of button (.*)", r"le code du bouton \1"),
    ("the body", "le corps"),
    ("the text", "le texte"),
)

_SOURCES: Final[tuple[tuple[str, Written], ...]] = (
    ("user property (.*)", r"propriété \1 du contact"),
    ("event property (.*)", r"propriété \1 de l’événement"),
    ("constant text", "texte constant"),
)

_CAPS: Final[tuple[tuple[str, Written], ...]] = (
    ("the message's own cap", "limite du message"),
    (r"the cap of estafette\.yaml", "limite d’estafette.yaml"),
    ("the cap of (.*)", r"limite de \1"),
)

_TROUBLES: Final[tuple[tuple[str, Written], ...]] = (
    (r"its server answers HTTP (\d+)", r"son serveur répond HTTP \1"),
    (r"(?:its type is (.*)|its server says no type); WhatsApp takes (.*) as an? \w+", _type),
    ("it is empty", "il est vide"),
    (
        r"it has (.*) MB; WhatsApp takes at most (\d+) MB as an? \w+",
        lambda one: f"il a {one[1].replace('.', ',')}\u00a0Mo\u00a0; WhatsApp en prend {one[2]} au plus",
    ),
    ("it is no web address|it is no http.s. address", "ce n’est pas une adresse du web"),
    (r"it is redirected more than (\d+) times", r"il est redirigé plus de \1 fois"),
    (r"the certificate of (.*) is not one to trust", r"le certificat de \1 n’est pas de confiance"),
    (r"there is no connection to (.*)", r"pas de connexion à \1"),
    (r"(.*) does not answer", r"\1 ne répond pas"),
    (r"the connection to (.*) broke", r"la connexion à \1 s’est rompue"),
    (r"(.*) has no address", r"\1 n’a pas d’adresse"),
    (r"nobody knows a server (.*)", r"personne ne connaît de serveur \1"),
    (
        r"(.*) is in a private network, where Meta can't fetch it",
        r"\1 est dans un réseau privé, hors d’accès pour Meta",
    ),
    (r"it did not come within (\d+) seconds", r"il n’est pas venu en \1 secondes"),
    ("there was no time to look at it yet", "il n’a pas encore été vérifié, faute de temps"),
)
