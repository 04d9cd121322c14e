"""How a campaign file is spelled: one model a mapping of the file, key for key, with the words that editors show.

What belongs here: the file as a whole. Its parts have rooms of their own: `language_entries`, `language_settings`,
`language_steps`, `language_waits`, `language_messages`, `language_variables`, and `language_rules` for what
`estafette.yaml` says as well. All of them hold keys, types, defaults, and which keys exclude each other, and turn
themselves into what the rest of the house knows (`campaign`, `steps`). Whether a campaign can run is `check`.
"""

from typing import Annotated

from pydantic import Field

from journey.language_basics import Name
from journey.language_entries import EntryFile
from journey.language_settings import SettingsFile
from journey.language_steps import STEP_NAMES, StepFile, StepName
from journey.language_variables import Variables
from journey.reading import FileModel


class CampaignFile(FileModel):
    """A campaign: who comes in, and what happens to them."""

    name: Name = Field(description="The file's name without .yaml.")
    description: str = Field("", description="What the campaign is for.")
    sender: Name = Field(description="One of the senders of estafette.yaml.")
    draft: bool = Field(False, description="A draft enters no one.")
    entries: Annotated[list[EntryFile], Field(min_length=1)] = Field(description="How contacts come in.")
    variables: Variables = Field({}, description="Variables that all messages share.")
    settings: SettingsFile = Field(SettingsFile(), description="How the campaign behaves.")
    steps: dict[StepName, StepFile] = Field(
        min_length=1,
        description="The steps by name; the first is where everyone starts.",
        json_schema_extra=STEP_NAMES,
    )
