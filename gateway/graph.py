"""A campaign's graph on paper: where each step stands, and the line of every way out of it.

What belongs here: a pure layout, in pixels, of boxes in columns from left to right. A box lists its ways out, one row
each with its label, and every line begins at its row: so no label ever lies over another. How it is drawn is
`pages/graph.svg`; which numbers stand in it is `campaign_view`.

Columns are the longest way from the start; lines that lead back run under everything, in lanes of their own; lines
that pass a column pass it at a height of their own, between its boxes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH = 264  # of a box
GAP_X, GAP_Y = 96, 28  # between columns, between boxes
HEAD, ROW, FACT = 50, 26, 20  # heights: of a box's head, of a way, of a line of text
PAD = 10  # inside a box, under its last row
PASS = 12  # height that a passing line takes in a column
MARGIN, LANE = 24, 16


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of a box; `target` is another box, or None where it ends."""

    key: str
    target: str | None


@dataclass(frozen=True, slots=True)
class Node:
    """A box to place: `lines` is how much stands in it, in rows of `FACT` pixels."""

    name: str
    exits: tuple[Exit, ...] = ()
    lines: int = 0

    @property
    def height(self) -> int:
        return HEAD + self.lines * FACT + len(self.exits) * ROW + PAD


@dataclass(slots=True)
class Box:
    """A box in its place: x and y of its left upper corner."""

    node: Node
    column: int
    x: int = 0
    y: int = 0

    def row(self, place: int) -> int:
        """The middle of the row of the way `place`."""
        return self.y + HEAD + self.node.lines * FACT + place * ROW + ROW // 2


@dataclass(frozen=True, slots=True)
class Line:
    """The line of one way: `path` is the `d` of an SVG path from its row to its target's side."""

    source: str
    key: str
    target: str
    path: str
    back: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole graph in `width` × `height` pixels."""

    boxes: Mapping[str, Box]
    lines: tuple[Line, ...]
    width: int
    height: int


@dataclass(slots=True)
class _Slot:
    """A place in a column: a box, or a line that passes. `wish` is the height at which it would like to be."""

    height: int
    box: Box | None = None
    y: int = 0
    before: list[tuple["_Slot", int]] = field(default_factory=list)  # whence lines come, and how far under its top

    @property
    def wish(self) -> float:
        if not self.before:
            return 0.0
        # Where the line goes in: a box takes it at its head, a passing line in its middle.
        into = HEAD // 2 if self.box is not None else PASS // 2
        return sum(slot.y + under for slot, under in self.before) / len(self.before) - into


def draw(nodes: Sequence[Node]) -> Drawing:
    """Place boxes and lines; the first node is where everyone starts. Ways to a box that is not among the nodes are
    treated as ends."""
    known = {node.name: node for node in nodes}
    targets = {
        node.name: [one.target if one.target in known else None for one in node.exits] for node in known.values()
    }
    backs = _backs(targets)
    columns = _columns(targets, backs)
    boxes = {name: Box(node, columns[name]) for name, node in known.items()}
    passing = _place(boxes, targets, backs)
    bottom = max((box.y + box.node.height for box in boxes.values()), default=0)
    bottom = max([bottom, *(slot.y + PASS for chain in passing.values() for slot in chain)])
    lines: list[Line] = []
    lane = 0
    for name, box in boxes.items():
        for place, target in enumerate(targets[name]):
            if target is None:
                continue
            back = (name, place) in backs
            if back:
                path = _path_back(box, place, boxes[target], bottom + GAP_Y + lane * LANE, lane)
                lane += 1
            else:
                path = _path(box, place, boxes[target], passing.get((name, place), []))
            lines.append(Line(name, box.node.exits[place].key, target, path, back))
    width = MARGIN * 2 + (max(columns.values(), default=0) + 1) * (WIDTH + GAP_X) - GAP_X
    height = bottom + MARGIN + (GAP_Y + lane * LANE if lane else 0)
    # A line that leads back leaves on the right: it needs room there, and to the left of its target.
    return Drawing(boxes, tuple(lines), width + (GAP_X // 2 if lane else 0), height)


def _backs(targets: Mapping[str, Sequence[str | None]]) -> set[tuple[str, int]]:
    """The ways that lead back to a step on the way there, found by walking from the start (without recursion)."""
    backs: set[tuple[str, int]] = set()
    state: dict[str, int] = {}  # 1: on the way, 2: done
    for start in targets:
        stack = [(start, 0)] if start not in state else []
        while stack:
            name, place = stack.pop()
            state.setdefault(name, 1)
            if place == len(targets[name]):
                state[name] = 2
                continue
            stack.append((name, place + 1))
            target = targets[name][place]
            if target is None:
                continue
            if state.get(target) == 1:
                backs.add((name, place))
            elif target not in state:
                stack.append((target, 0))
    return backs


def _columns(targets: Mapping[str, Sequence[str | None]], backs: set[tuple[str, int]]) -> dict[str, int]:
    """The column of each box: one more than that of the last box before it."""
    ahead = {
        name: [one for place, one in enumerate(found) if one is not None and (name, place) not in backs]
        for name, found in targets.items()
    }
    waits = dict.fromkeys(targets, 0)
    for found in ahead.values():
        for one in found:
            waits[one] += 1
    columns = dict.fromkeys(targets, 0)
    ready = [name for name, count in waits.items() if count == 0]
    while ready:
        name = ready.pop(0)
        for one in ahead[name]:
            columns[one] = max(columns[one], columns[name] + 1)
            waits[one] -= 1
            if waits[one] == 0:
                ready.append(one)
    return columns


def _place(
    boxes: Mapping[str, Box], targets: Mapping[str, Sequence[str | None]], backs: set[tuple[str, int]]
) -> dict[tuple[str, int], list[_Slot]]:
    """Give every box its place. Gives the slots through which long lines pass, by the way."""
    slots = {name: _Slot(box.node.height, box) for name, box in boxes.items()}
    columns: list[list[_Slot]] = [[] for _ in range(max((box.column for box in boxes.values()), default=-1) + 1)]
    for name, box in boxes.items():
        columns[box.column].append(slots[name])
    passing: dict[tuple[str, int], list[_Slot]] = {}
    for name, found in targets.items():
        for place, target in enumerate(found):
            if target is None or (name, place) in backs:
                continue
            last, under = slots[name], boxes[name].row(place)  # boxes stand at 0 yet, so this is from their top
            for column in range(boxes[name].column + 1, boxes[target].column):
                slot = _Slot(PASS, before=[(last, under)])
                columns[column].append(slot)
                passing.setdefault((name, place), []).append(slot)
                last, under = slot, PASS // 2
            slots[target].before.append((last, under))
    for number, stack in enumerate(columns):
        stack.sort(key=lambda slot: slot.wish)  # stable: in the order of the file where nothing else decides
        _stack(stack)
        for slot in stack:
            if slot.box is not None:
                slot.box.x, slot.box.y = MARGIN + number * (WIDTH + GAP_X), slot.y
    top = min((slot.y for column in columns for slot in column), default=0)
    for stack in columns:
        for slot in stack:
            slot.y += MARGIN - top
            if slot.box is not None:
                slot.box.y = slot.y
    return passing


def _stack(column: Sequence[_Slot]) -> None:
    """Heights in a column: each as near to its wish as its neighbours allow. Slots that push each other become a block
    that stands where its slots wish on average."""
    blocks: list[tuple[list[_Slot], float, int]] = []  # slots, the top, the height with gaps
    for slot in column:
        group, top, height = [slot], slot.wish, slot.height
        while blocks and blocks[-1][1] + blocks[-1][2] + GAP_Y > top:
            before, before_top, before_height = blocks.pop()
            many, few = len(before), len(group)
            top = (before_top * many + (top - before_height - GAP_Y) * few) / (many + few)
            group, height = before + group, before_height + GAP_Y + height
        blocks.append((group, top, height))
    for group, top, _ in blocks:
        y = round(top)
        for slot in group:
            slot.y = y
            y += slot.height + GAP_Y


def _path(box: Box, place: int, target: Box, chain: Sequence[_Slot]) -> str:
    x, y = box.x + WIDTH, box.row(place)
    parts = [f"M{x} {y}"]
    for slot in chain:
        across = slot.y + PASS // 2
        parts.append(_curve(x, y, x + GAP_X, across))
        x, y = x + GAP_X + WIDTH, across
        parts.append(f"H{x}")
    parts.append(_curve(x, y, target.x, target.y + HEAD // 2))
    return "".join(parts)


def _path_back(box: Box, place: int, target: Box, lane_y: int, lane: int) -> str:
    """Out to the right, down, under everything to the left, up, and in again from the left."""
    right, left = box.x + WIDTH + 14 + lane * 5 % 30, target.x - 14 - lane * 5 % 10
    y, into = box.row(place), target.y + HEAD // 2 + 14
    return f"M{box.x + WIDTH} {y}H{right}V{lane_y}H{left}V{into}H{target.x}"


def _curve(x: int, y: int, to_x: int, to_y: int) -> str:
    middle = (x + to_x) // 2
    return f"C{middle} {y} {middle} {to_y} {to_x} {to_y}"
