"""The picture of a campaign: no box on another, no line through a box, every way with its line, loops and all."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.graph import GAP_X, WIDTH, Drawing, Exit, Node, draw

NAMES = [f"s{number}" for number in range(9)]


def node(name: str, *targets: str | None, lines: int = 0) -> Node:
    return Node(name, tuple(Exit(str(place), target) for place, target in enumerate(targets)), lines)


def assert_sound(drawing: Drawing, nodes: list[Node]) -> None:
    boxes = list(drawing.boxes.values())
    for place, one in enumerate(boxes):
        assert one.x >= 0 and one.x + WIDTH <= drawing.width
        assert one.y >= 0 and one.y + one.node.height <= drawing.height
        for other in boxes[place + 1 :]:
            apart = one.x + WIDTH <= other.x or other.x + WIDTH <= one.x
            above = one.y + one.node.height <= other.y or other.y + other.node.height <= one.y
            assert apart or above, (one, other)
    known = {one.name for one in nodes}
    wanted = {(one.name, way.key) for one in nodes for way in one.exits if way.target in known}
    assert {(line.source, line.key) for line in drawing.lines} == wanted
    for line in drawing.lines:
        source, target = drawing.boxes[line.source], drawing.boxes[line.target]
        place = [way.key for way in source.node.exits].index(line.key)
        assert line.path.startswith(f"M{source.x + WIDTH} {source.row(place)}")
        assert re.search(rf"[ H]{target.x}( {target.y + 25})?$", line.path), line.path
        for x, to_x, y in straight(line.path):
            for box in boxes:
                inside = box.x < max(x, to_x) and min(x, to_x) < box.x + WIDTH
                assert not (inside and box.y < y < box.y + box.node.height), (line, box)


def straight(path: str) -> list[tuple[int, int, int]]:
    """The level parts of a path as (x, to x, y): what could cross a box. Curves stay between columns."""
    found, x, y = [], 0, 0
    for kind, text in re.findall(r"([MHVC])([-\d ]+)", path):
        numbers = [int(one) for one in text.split()]
        if kind == "H":
            found.append((x, numbers[0], y))
            x = numbers[0]
        elif kind == "V":
            y = numbers[0]
        else:
            if kind == "C":
                assert numbers[-2] - x == GAP_X, "a curve spans the room between two columns, and no more"
            x, y = numbers[-2:]
    return found


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from([*NAMES, None, "gone"]), max_size=6), st.integers(0, 8)),
        min_size=1,
        max_size=9,
    )
)
def test_any_graph_is_drawn_without_overlaps_and_with_every_line(
    drawn: list[tuple[list[str | None], int]],
) -> None:
    nodes = [node(NAMES[place], *targets, lines=lines) for place, (targets, lines) in enumerate(drawn)]
    assert_sound(draw(nodes), nodes)


def test_steps_stand_to_the_right_of_what_leads_to_them() -> None:
    drawing = draw([node("a", "b", "d", "c"), node("b", "c"), node("c", "d"), node("d")])
    assert [drawing.boxes[name].column for name in "abcd"] == [0, 1, 2, 3]
    assert not any(line.back for line in drawing.lines)


def test_a_loop_leads_back_under_everything() -> None:
    drawing = draw([node("a", "b"), node("b", "a", "b")])
    assert [(line.source, line.target, line.back) for line in drawing.lines] == [
        ("a", "b", False),
        ("b", "a", True),
        ("b", "b", True),
    ]
    lowest = max(box.y + box.node.height for box in drawing.boxes.values())
    assert all(max(y for _, _, y in straight(line.path)) > lowest for line in drawing.lines if line.back)


def test_nothing_to_draw_is_an_empty_drawing() -> None:
    assert draw([]).lines == ()


def test_a_thousand_steps_in_a_row_are_no_trouble() -> None:
    nodes = [node(f"n{number}", f"n{number + 1}") for number in range(1_000)]
    drawing = draw(nodes)
    assert len({box.x for box in drawing.boxes.values()}) == 1_000
