"""Which steps somebody may come to again."""

from hypothesis import given
from hypothesis import strategies as st

from journey.campaign import Campaign
from journey.loops import in_loops
from journey.steps import Arm, ExperimentStep


def graph(arrows):
    """Steps with arrows, as experiments whose arms lead along them."""
    steps = {
        name: ExperimentStep(arms={to: Arm(weight=1, next=to) for to in [*targets, "end"]})
        for name, targets in arrows.items()
    }
    return Campaign(name="g", sender="main", entries=(), steps=steps, version="v", file="f")


def reached(arrows, start):
    """Every step that can be walked to from here."""
    found, todo = set(), list(arrows[start])
    while todo:
        step = todo.pop()
        if step not in found:
            found.add(step)
            todo += arrows[step]
    return found


names = "abcdef"
graphs = st.fixed_dictionaries({name: st.lists(st.sampled_from(names), max_size=3, unique=True) for name in names})


@given(graphs)
def test_every_step_in_a_loop_is_found_and_none_that_is_beside_all_of_them(arrows):
    found = in_loops(graph(arrows))
    loops = {name for name in arrows if name in reached(arrows, name)}
    assert loops <= found
    for name in found - loops:
        assert any(name in reached(arrows, loop) for loop in loops), "between two loops"
        assert reached(arrows, name) & loops


def test_a_step_that_leads_to_itself_is_a_loop_and_a_line_is_none():
    assert in_loops(graph({"a": ["b"], "b": ["b", "c"], "c": []})) == {"b"}
    assert in_loops(graph({"a": ["b"], "b": ["c"], "c": []})) == frozenset()
