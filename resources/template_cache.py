"""The template cache: templates/*.json, one file a (name, language), as Meta's API last gave them.

What belongs here: pulling. The files are committed with the project, so that `check` works offline; what a definition
means is `journey.template`. A file changes only when the definition does, so that Git shows what Meta changed.
"""

import json
from dataclasses import dataclass, field

from journey.problems import UsageError
from journey.template import parse_template
from resources.cloud_api import CloudApi
from resources.home import Home
from resources.on_disk import into_place
from resources.template_news import note_approved


@dataclass
class Pulled:
    """What a pull found: templates in all, files that changed or are new, files of templates that are gone, and
    definitions that could not be understood."""

    templates: int = 0
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def pull(home: Home) -> Pulled:
    """Fetch every template, all pages, of every account of the settings' senders, and write what changed.

    CloudApiError: Meta refused or can't be reached; then nothing was written. A template that is approved again ends
    the hold on its messages.
    """
    token = home.secrets.whatsapp_token
    if token is None:
        raise UsageError(
            "there is no token to ask with",
            where="WHATSAPP_TOKEN",
            mend="Put it in the environment or in .env; `estafette doctor` checks it",
        )
    accounts = sorted({sender.waba_id for sender in home.project.settings.senders.values()})
    with CloudApi(home.secrets.api_url, home.secrets.api_version, token) as api:
        definitions = [definition for waba_id in accounts for definition in api.templates(waba_id)]
    pulled = Pulled()
    folder = home.path / "templates"
    folder.mkdir(exist_ok=True)
    files: set[str] = set()
    approved: list[tuple[str, str]] = []
    for definition in definitions:
        try:
            template = parse_template(definition)
        except ValueError as error:
            pulled.unread.append(f"{definition.get('name', '?')} ({definition.get('language', '?')}): {error}")
            continue
        pulled.templates += 1
        files.add(template.file_name)
        if template.approved:
            approved.append((template.name, template.language))
        path = folder / template.file_name
        text = json.dumps(definition, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            hidden = path.with_name(f".{path.name}")
            hidden.write_text(text, encoding="utf-8")
            into_place(hidden, path)
            pulled.changed.append(template.file_name)
    for path in sorted(folder.glob("*.json")):
        if path.name not in files:
            path.unlink()
            pulled.gone.append(path.name)
    with home.ledger.write() as tx:
        note_approved(tx, approved, home.clock())
    home.reload()
    return pulled
