"""Attribution: which message an answer belongs to, and whether it came too late to move anybody.

What belongs here: the decision for the answers of one contact, in the order of their times, whatever the order in which
they came in. Which of them leads where is decided where the participant stands (`cohort`); the ledger's side is
`resources.answering`.

An answer belongs to the message it quotes; without a quote, to the newest message of the same sender that still waits
for one: its participant stands at its `on_reply`, or at a `wait_for` that names its step, and nothing has answered it
before. Where none waits, to the newest message at all. It is late where its step had an `on_reply` that is over (the
participant has moved on, the deadline has passed, something answered before), or where it is not the first answer to
its message; never where it is what a `wait_for` still waits for. A stop word is no answer and takes no answer's place.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from journey.answers import answer_key

SECOND = 1_000_000
"""Meta tells times in whole seconds: an answer may bear the second in which its message was attempted."""

Passage = tuple[int, str, int]  # participant, step, visit: what copies of one message have in common


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that went out, or may have. Times in microseconds since 1970."""

    id: int
    participant_id: int
    campaign: str
    step: str
    visit: int
    sender: str
    attempted_at: int

    @property
    def passage(self) -> Passage:
        return self.participant_id, self.step, self.visit


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody who stands where an answer moves them, until then. `messages`: those that an answer without a quote may
    belong to, all of one passage. `asked`: the answers of each branch of a `wait_for` (empty: any); None: `on_reply`,
    which takes any."""

    passage: Passage
    messages: tuple[Sent, ...]
    until: int
    asked: tuple[tuple[str, ...], ...] | None = None

    def takes(self, payload: str | None, text: str | None) -> bool:
        """Whether an answer is what is waited for."""
        return self.asked is None or any(not keys or answer_key(payload, text, keys) for keys in self.asked)


@dataclass(frozen=True, slots=True)
class Said:
    """An answer. `message`: the one it quotes, or belongs to for good; `newest`: of its sender to this contact before
    it. `late`: None for one that has just come."""

    at: int
    sender: str
    payload: str | None
    text: str | None
    message: Sent | None = None
    newest: Sent | None = None
    stop: bool = False
    late: bool | None = None


def attribute(
    answers: Sequence[Said], waiting: Iterable[Waiting], had_on_reply: Callable[[Sent], bool]
) -> list[tuple[Sent | None, bool]]:
    """The message of each answer of one contact, and whether it is late; in the order of `answers`.

    `answers`: the new ones, and of those known before all to messages that new ones may belong to. Of two with the same
    time the first counts.
    """
    open_ = {one.passage: one for one in waiting}
    answered: set[Passage] = set()  # what was waited for has come
    spoken: set[Passage] = set()  # an answer of any kind has come
    found: list[tuple[Sent | None, bool]] = [(None, False)] * len(answers)
    for place in sorted(range(len(answers)), key=lambda place: answers[place].at):
        said = answers[place]
        message = said.message or _newest_waiting(said, open_, answered) or said.newest
        if message is None:
            continue
        passage = message.passage
        wait = open_.get(passage)
        if wait is not None and _counts(said, wait) and passage not in answered:
            late = False
            answered.add(passage)
        elif wait is not None and wait.asked is None:
            late = True
        elif had_on_reply(message):
            late = True if said.late is None else said.late  # what was decided when they moved stays
        else:
            late = passage in spoken
        if not said.stop:
            spoken.add(passage)
        found[place] = message, late
    return found


def _counts(said: Said, wait: Waiting) -> bool:
    return not said.stop and said.at <= wait.until and wait.takes(said.payload, said.text)


def _newest_waiting(said: Said, open_: dict[Passage, Waiting], answered: set[Passage]) -> Sent | None:
    return max(
        (
            message
            for wait in open_.values()
            if wait.passage not in answered and said.at <= wait.until
            for message in wait.messages
            if message.sender == said.sender and message.attempted_at < said.at + SECOND
        ),
        key=lambda message: (message.attempted_at, message.id),
        default=None,
    )
