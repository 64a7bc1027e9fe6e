"""What became of the gates is said in the fullest words that there is room for, and is never cut."""

import pytest

from fcos_lib.evidence.plain_text import Screen
from fcos_lib.judge.roll_call import State
from tests.unit.evidence.endings import TEST, ended, left_out, shown, whole

LEFT_OUT = "by -m 'contract'"
ROLLS = {
    80: ["gates: 2 of 8 judged; not selected: cost, consistency, accuracy, throughput", "  (by -m 'contract')"],
    60: ["gates: 2 of 8 judged; not selected: cost, consistency,", "  accuracy, throughput (by -m 'contract')"],
    120: ["gates: 2 of 8 judged; not selected: cost, consistency, accuracy, throughput (by -m 'contract')"],
}


def roll_of(lines):
    """The lines about gates."""
    start = next(number for number, line in enumerate(lines) if line.startswith("gates: "))
    return [line for number, line in enumerate(lines) if number == start or (number > start and line[:2] == "  ")]


@pytest.mark.parametrize("width", ROLLS)
def test_what_was_not_selected_says_by_what(width):
    """The option that left it out, in as many lines as there is room for: nothing is cut."""
    keys = (
        "cost.om_size",
        "consistency.unexplained",
        "bias.size",
        "accuracy.mAP",
        "paired.loss",
        "throughput.unexplained",
    )
    document = left_out(*((key, "batch8", State.NOT_SELECTED, LEFT_OUT) for key in keys))
    assert roll_of(shown(document, Screen(width))) == ROLLS[width]


def test_several_options_are_told_apart():
    """Each with what it left out; why a gate is blocked is said unless a cause says it already."""
    test = TEST.format("test_contract.py::test_every_row_is_a_detection_or_padding[batch4]")
    document = left_out(
        ("accuracy.mAP", "batch8", State.NOT_SELECTED, LEFT_OUT),
        ("contract.broken_rows", "batch1", State.NOT_SELECTED, "by -k 'not batch1'"),
        ("contract.broken_rows", "batch4", State.BLOCKED, "no NPU"),
        ("cost.om_size", "batch4", State.BLOCKED, "no champion was accepted"),
    )
    document["unjudged"] = [{"test": test, "outcome": "INFRA", "phase": "setup", "message": "no NPU\n  → look"}]
    assert roll_of(shown(document)) == [
        "gates: 2 of 6 judged; blocked: 1 of contract, cost (no champion was accepted);",
        "  not selected: 1 of contract (by -k 'not batch1'), accuracy (by -m 'contract')",
    ]


def test_the_roll_is_never_cut_where_counts_fit():
    """Where there is room for one line alone names give way, then reasons; the numbers stay."""
    path = "by the paths given: " + "/a_long_folder" * 8
    silent = [(key, "batch8", State.NOT_SELECTED, path) for key in ("bias.size", "bias.score")]
    silent += [("inputs.wrong", "inputs", State.MISSING, "gone"), ("bias.centre_x", "batch8", State.BLOCKED, "no NPU")]
    document = left_out(*silent, verdicts=whole(stand_in=True))
    document["run"] |= {"gates_not_run": 3, "exit_status": 7}
    document["environment"]["device"] = {"stand_in": True}
    (roll,) = roll_of(shown(document))
    assert roll == "gates: 20 of 24 judged; 1 missing; 1 blocked; 2 not selected"


def test_several_gates_do_not_apply():
    """In the short form as well, which has no promise before its number."""
    silent = [(key, "batch8", State.DOES_NOT_APPLY) for key in ("bias.size", "published.slower")]
    silent += [("inputs.wrong", "inputs", State.MISSING), ("bias.score", "batch8", State.NOT_SELECTED)]
    document = ended(whole(stand_in=True), 7, silent=silent, device={"stand_in": True}, gates_not_run=3)
    assert "gates: 20 of 24 judged; 1 missing; 1 not selected (by -k x); 2 do not apply" in shown(document)
