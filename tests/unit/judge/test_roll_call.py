"""A run says for every gate of the catalogue whether it was judged, and if not, why not."""

import pytest

from fcos_lib.errors import UsageError
from fcos_lib.judge.gate import PROMISES, On
from fcos_lib.judge.gates import GATES
from fcos_lib.judge.roll_call import (
    Absence,
    State,
    blocked,
    does_not_apply,
    in_words,
    owed_by,
    parse_promises,
    roll_call,
    stored_entry,
    unanswered,
)

SUBJECTS = {"batch1": 1, "batch8": 8}
ALL = {(gate.key, subject) for gate in GATES.values() for subject, _ in owed_by(gate, SUBJECTS)}


def states(entries):
    """State and reason by gate and subject."""
    return {(entry.key, entry.subject): (entry.state, entry.why) for entry in entries}


def test_a_run_that_judged_everything_leaves_nothing_open():
    """Each gate once per subject: every batch size, the reference, the inputs, the run."""
    entries = roll_call(SUBJECTS, ALL, {}, {})
    assert {entry.state for entry in entries} == {State.JUDGED}
    assert len(entries) == len(ALL), "a gate is listed once for each of its subjects"
    assert unanswered(entries, PROMISES) == []
    assert [entry.subject for entry in entries if entry.key == "bias.size"] == ["batch1", "batch8"]
    assert [entry.subject for entry in entries if entry.key == "network.explained"] == ["batch1"]


def test_the_smallest_batch_size_is_the_smallest_by_number():
    """Not by name, where 16 comes before 8."""
    once = next(gate for gate in GATES.values() if gate.on is On.SMALLEST_BATCH)
    assert list(owed_by(once, {"batch16": 16, "batch8": 8})) == [("batch8", once.test)]


def test_a_verdict_for_another_batch_size_does_not_count():
    """The gate is judged for each batch size that was asked for."""
    entries = roll_call(SUBJECTS, ALL - {("bias.size", "batch8")}, {}, {})
    assert states(entries)["bias.size", "batch8"] == (State.BLOCKED, "its test ended without judging it")
    assert [(entry.key, entry.subject) for entry in unanswered(entries, ("consistency",))] == [("bias.size", "batch8")]
    assert unanswered(entries, ("accuracy",)) == [], "another promise"
    assert unanswered(entries, ()) == [], "nobody asked"


def test_the_reason_is_the_test_s_or_the_gate_s_own():
    """What a test says of a gate goes before what is known of the test."""
    test = "test_accuracy.py::test_the_candidate_reaches_the_limit[batch8]"
    absent = {test: Absence(State.NOT_SELECTED, "by -m contract")}
    excused = {("accuracy.mAP", "batch8"): blocked("40 of 240 pictures")}
    judged = {pair for pair in ALL if not (pair[0].startswith(("accuracy", "paired")) and pair[1] == "batch8")}
    by_gate = states(roll_call(SUBJECTS, judged, absent, excused))
    assert by_gate["accuracy.mAP", "batch8"] == (State.BLOCKED, "40 of 240 pictures")
    assert by_gate["paired.loss", "batch8"] == (State.NOT_SELECTED, "by -m contract")


def test_a_gate_can_only_be_excused_as_the_catalogue_allows():
    """`does not apply` of a gate that always applies is blocked, and counts as open."""
    judged = ALL - {("bias.size", "batch1"), ("champion.slower", "batch1")}
    excused = {
        ("bias.size", "batch1"): does_not_apply("nobody feels like it"),
        ("champion.slower", "batch1"): does_not_apply("no champion was accepted"),
    }
    entries = roll_call(SUBJECTS, judged, {}, excused)
    assert states(entries)["bias.size", "batch1"] == (State.BLOCKED, "nobody feels like it")
    assert states(entries)["champion.slower", "batch1"] == (State.DOES_NOT_APPLY, "no champion was accepted")
    assert [entry.key for entry in unanswered(entries, PROMISES)] == ["bias.size"]


def test_a_missing_gate_is_open_without_being_asked_for():
    """A renamed file is nobody's choice."""
    test = "test_inputs.py::test_the_network_gets_what_the_recipe_gives_it"
    judged = {pair for pair in ALL if pair[1] != "inputs"}
    entries = roll_call(SUBJECTS, judged, {test: Absence(State.MISSING, "it is not there")}, {})
    assert [entry.key for entry in unanswered(entries, ())] == ["inputs.wrong", "inputs.way_back"]


def test_what_is_only_recorded_is_not_missed():
    """No limit judges it."""
    entries = roll_call(SUBJECTS, {pair for pair in ALL if not GATES[pair[0]].recorded}, {}, {})
    assert unanswered(entries, PROMISES) == []


def test_an_entry_survives_being_stored():
    """As results.json keeps it."""
    for entry in roll_call(SUBJECTS, set(), {}, {}):
        assert stored_entry(entry.as_dict()) == entry


def test_the_roll_in_words():
    """A promise that lacks everything for one reason is named as a whole; batch sizes are put together."""
    judged = {pair for pair in ALL if GATES[pair[0]].promise not in ("cost", "consistency")}
    judged |= {pair for pair in ALL if pair[0].startswith("between_")}
    absent = {
        test: Absence(State.NOT_SELECTED, "by -k x")
        for gate in GATES.values() if gate.promise == "consistency" for _, test in owed_by(gate, SUBJECTS)
    }  # fmt: skip
    entries = roll_call(SUBJECTS, judged, absent, {})
    owed = [entry for entry in entries if not entry.recorded]
    spoken = sum(entry.state is State.JUDGED for entry in owed)
    lines = in_words([entry.as_dict() for entry in entries])
    assert lines[0] == f"gates: {spoken} of {len(owed)} judged"
    assert in_words([]) == []
    assert "blocked: all of cost (its test ended without judging it)" in lines
    (line,) = [line for line in lines if line.startswith("not selected")]
    assert "bias.size, bias.centre_x, bias.centre_y, bias.score on batch1, 8; " in line
    assert line.endswith("(by -k x)")


@pytest.mark.parametrize(
    ("text", "promises"),
    [("accuracy", ("accuracy",)), ("cost, accuracy,cost", ("cost", "accuracy")), ("all", PROMISES), ("", ())],
)
def test_promises_are_a_comma_list_or_all(text, promises):
    """Each once."""
    assert parse_promises(text) == promises


@pytest.mark.parametrize("text", ["acuracy", "accuracy,", "all,accuracy"])
def test_an_unknown_promise_is_refused(text):
    """With those that exist."""
    with pytest.raises(UsageError) as error:
        parse_promises(text)
    assert "promises are contract, cost, consistency, accuracy, throughput, or all" in error.value.advice
