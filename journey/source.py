"""YAML text → plain Python data that remembers its lines.

What belongs here: the reading of YAML 1.2 (core schema), and the look-up "on which line stands this path". What the
data must look like is `reading`; what it means is `campaign`.

ruamel.yaml scans and parses; the values are settled here from its events, because three things must be exact: only
`true` and `false` are booleans (YAML 1.1 read Norway and half of all replies, `no`, `yes`, `on`, as booleans), times
and dates stay words, and a key written twice is an error rather than the later value winning silently.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from journey.problems import Problem

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 40
#: Values after aliases are followed. A page of nested aliases would otherwise unfold to billions.
MAX_VALUES = 100_000

Key = str | int
Path = Sequence[Key]

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TAG = "tag:yaml.org,2002:"
_LONGEST_NUMBER = 400  # characters; Python itself refuses to read an integer of more than 4,300 digits


@dataclass(slots=True)
class _Node:
    """One value, the line on which it starts, and its children with the lines of their keys."""

    value: object
    line: int
    size: int = 1
    children: dict[Key, "tuple[int, _Node]"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """A file's data (dict, list, str, int, float, bool, None) with the line of everything in it, from 1."""

    file: str
    data: object
    _root: _Node

    def line(self, path: Path = ()) -> int:
        """The line of the key (or list item) at `path`; of its nearest ancestor where the path does not exist."""
        line, node = self._root.line, self._root
        for part in path:
            child = _child(node, part)
            if child is None:
                break
            line, node = child
        return line

    def value(self, path: Path) -> object:
        """The value at `path`, as the file has it; of its nearest ancestor where the path does not exist."""
        node = self._root
        for part in path:
            child = _child(node, part)
            if child is None:
                break
            node = child[1]
        return node.value

    def path(self, location: Path, *, missing: bool = False) -> tuple[Key, ...]:
        """`location` without the parts that name nothing in the data; its last part stays where it is what is missing.

        Pydantic's locations also carry the names of union members; a reader looks for the keys of his file.
        """
        found: list[Key] = []
        node = self._root
        for number, part in enumerate(location):
            child = _child(node, part)
            if child is not None:
                node = child[1]
                found.append(part)
            elif missing and number == len(location) - 1:
                found.append(part)
        return tuple(found)

    def nulls(self) -> Iterator[tuple[Key, ...]]:
        """The paths of all values that were left empty."""
        stack: list[tuple[tuple[Key, ...], _Node]] = [((), self._root)]
        while stack:
            path, node = stack.pop()
            if node.value is None:
                yield path
            stack.extend(((*path, key), child) for key, (_, child) in node.children.items())


def dotted(path: Path) -> str:
    """A path as findings show it: `steps.offer.buttons.0`, `entries[0].audience`."""
    text = ""
    for number, part in enumerate(path):
        if isinstance(part, int) and path[number - 1] != "buttons":
            text += f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text


def parse_source(text: str, file: str) -> tuple[Source | None, list[Problem]]:
    """Reads one YAML document. Returns the source, or the findings (file:line, what, mend) that forbid it."""
    if len(text) > MAX_CHARACTERS:
        what = f"the file has {len(text):,} characters; the most that is read is {MAX_CHARACTERS:,}"
        return None, [Problem(file, 1, "", what, "Split it, or move data out of it.")]
    problems: list[Problem] = []
    try:
        root = _Builder(file, problems).build(iter(YAML(typ="safe", pure=True).parse(text.removeprefix("\ufeff"))))
    except _Refused as refused:
        return None, [*problems, refused.problem]
    except MarkedYAMLError as error:
        return None, [*problems, _syntax_problem(file, text, error)]
    except YAMLError as error:  # a character that YAML forbids; it comes with a position, without a mark
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
        what = str(error).split("\n")[0]
        return None, [*problems, Problem(file, line, "", f"not YAML: {what}", "Remove the character.")]
    if root is None or root.value is None:
        return None, [Problem(file, 1, "", "the file is empty", "Write it, or remove the file.")]
    return (None, problems) if problems else (Source(file, root.value, root), [])


def _child(node: _Node, part: Key) -> tuple[int, _Node] | None:
    """The child of a key; `"1"` and 1 name the same one where only one of them exists."""
    child = node.children.get(part)
    if child is not None:
        return child
    if isinstance(part, int):
        return node.children.get(str(part)) if isinstance(node.value, Mapping) else None
    return node.children.get(int(part)) if part.isdecimal() and isinstance(node.value, Mapping) else None


def _syntax_problem(file: str, text: str, error: MarkedYAMLError) -> Problem:
    unclosed = "end of stream" in str(error.problem) and error.context_mark is not None
    mark = error.context_mark if unclosed else error.problem_mark or error.context_mark
    # What is missing at the end of the file is missing on its last line that says something.
    line = min(mark.line if mark is not None else 0, text.rstrip().count("\n")) + 1
    what = " ".join(part for part in (error.context, error.problem) if part) or "cannot be understood"
    if "mapping values are not allowed" in what:
        mend = "A text with a colon and a space in it needs quotes; else look at the indentation of this line."
    elif "'\\t'" in what:
        mend = "Indent with spaces, not with tabs."
    elif "cannot start any token" in what:
        mend = "A text that starts with this character needs quotes."
    elif "quoted scalar" in what:
        mend = "Close the quote that is opened on this line."
    elif "flow" in what:
        mend = "Close the bracket or brace that is open here, and put commas between its items."
    else:
        mend = "Look at the indentation, quotes and brackets of this line and the one before."
    return Problem(file, line, "", f"not YAML: {what}", mend)


class _Refused(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class _Builder:
    """Turns parser events into nodes. Duplicate keys are collected, everything else ends the reading."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file, self.problems = file, problems
        self.anchors: dict[str, _Node] = {}
        self.values = 0

    def build(self, events: Iterator[Event]) -> _Node | None:
        root: _Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    raise self._refuse(event, "a second document starts here (`---`)", "One file holds one document.")
                root = self._node(next(events), events, 0, ())
        return root

    def _node(self, event: Event, events: Iterator[Event], depth: int, path: tuple[Key, ...]) -> _Node:
        if depth > MAX_DEPTH:
            raise self._refuse(event, f"more than {MAX_DEPTH} levels deep", "Flatten it.")
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            known = self.anchors.get(event.anchor)
            if known is None:
                what = f"`*{event.anchor}` refers to no anchor that stands before it"
                raise self._refuse(event, what, f"Write `&{event.anchor}` at what it repeats; put a plain * in quotes.")
            self._count(known.size, event)
            return known
        node = _Node(None, line)
        self._count(1, event)
        if isinstance(event, ScalarEvent):
            node.value = self._scalar(event)
        elif isinstance(event, SequenceStartEvent):
            self._untagged(event, "seq")
            self._sequence(node, events, depth, path)
        elif isinstance(event, MappingStartEvent):
            self._untagged(event, "map")
            self._mapping(node, events, depth, path)
        # Only now: an anchor inside itself would make data without an end.
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def _sequence(self, node: _Node, events: Iterator[Event], depth: int, path: tuple[Key, ...]) -> None:
        items: list[object] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            child = self._node(event, events, depth + 1, (*path, len(items)))
            node.children[len(items)] = (event.start_mark.line + 1, child)
            node.size += child.size
            items.append(child.value)
        node.value = items

    def _mapping(self, node: _Node, events: Iterator[Event], depth: int, path: tuple[Key, ...]) -> None:
        data: dict[Key, object] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            line = event.start_mark.line + 1
            key = self._node(event, events, depth + 1, path).value
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise self._refuse(event, "a key must be text or a whole number", "Put the key in quotes.")
            child = self._node(next(events), events, depth + 1, (*path, key))
            if key in data:
                before = node.children[key][0]
                what = f"`{key}` is written twice (first on line {before})"
                self.problems.append(Problem(self.file, line, dotted((*path, key)), what, "Keep one of the two."))
                continue
            data[key] = child.value
            node.children[key] = (line, child)
            node.size += child.size + 1
        node.value = data

    def _scalar(self, event: ScalarEvent) -> object:
        text = str(event.value)
        tag = event.tag
        if tag is None or tag == "!":
            # implicit[0]: written plain, so its form decides; quoted and block texts are texts
            return _plain(text) if tag is None and event.implicit[0] else text
        if tag == _TAG + "str":
            return text
        if tag in {_TAG + "int", _TAG + "float", _TAG + "bool", _TAG + "null"}:
            value = _plain(text)
            kinds: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool}
            if isinstance(value, kinds.get(tag.removeprefix(_TAG), type(None))):
                return value
        raise self._refuse(event, f"the tag `{tag.removeprefix(_TAG)}` is not understood here", "Remove the tag.")

    def _untagged(self, event: MappingStartEvent | SequenceStartEvent, kind: str) -> None:
        if event.tag not in (None, "!", _TAG + kind):
            raise self._refuse(event, f"the tag `{event.tag}` is not understood here", "Remove the tag.")

    def _count(self, values: int, event: Event) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            what = f"more than {MAX_VALUES:,} values once its aliases are followed"
            raise self._refuse(event, what, "Use fewer aliases (`*name`).")

    def _refuse(self, event: Event, what: str, mend: str) -> _Refused:
        return _Refused(Problem(self.file, event.start_mark.line + 1, "", what, mend))


def _plain(text: str) -> object:
    """A plain scalar by YAML 1.2's core schema: null, boolean, integer, float, else the text itself."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".", "", 1) if text[-1] in "fFnN" else text)
    return text
