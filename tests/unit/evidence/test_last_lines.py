"""A run ends with its verdict in at most twelve lines, which fit the screen and name the number that decides each promise."""

import pytest

from fcos_lib.evidence.last_lines import MOST, STAND_IN, Ending, last_lines
from fcos_lib.evidence.plain_text import Screen
from fcos_lib.judge.roll_call import State
from fcos_lib.judge.verdict import Outcome
from tests.unit.evidence.endings import ENDING, SLOTS, TEST, ended, judged, shown, whole

GREEN = [
    "================= verdicts: PASS on Ascend310P3, exit status 0 =================",
    "PASS       contract    broken rows 0 rows (≤ 0 rows), batch8, worst of 2",
    "PASS       cost        OM size against champion 0.5 % (≤ 1 %), batch8",
    "PASS       consistency unexplained differences 0 detections (≤ 0), batch8",
    "PASS       accuracy    mAP as published 0.35905 AP (≥ 0.359 AP), batch64",
    "PASS       throughput  rate against champion -0.4 % (≥ -1 %), batch8, worst of 2",
    "gates: 20 of 21 judged; does not apply: 1 of throughput",
    "page: .artifacts/results/evidence.html",
    "details in .artifacts/results/results.json",
]
RED = [
    "================= verdicts: FAIL on Ascend310P3, exit status 1 =================",
    "PASS       contract    broken rows 0 rows (≤ 0 rows), batch8, worst of 2",
    "PASS       cost        OM size against champion 0.5 % (≤ 1 %), batch8",
    "FAIL       consistency unexplained differences 812 detections (≤ 0), batch64",
    "FAIL       accuracy    mAP difference -0.0498 AP (≥ -0.01 AP), batch64; 1 more",
    "PASS       throughput  rate against champion -0.4 % (≥ -1 %), batch8, worst of 2",
    "why: .venv/bin/python -m fcos_lib explain .artifacts/results/results.json",
    "gates: 20 of 21 judged; not selected: 1 of consistency (by -k x)",
    "page: .artifacts/results/evidence.html",
    "details in .artifacts/results/results.json",
    "again: .venv/bin/pytest --lf tests/acceptance --batch-sizes 8,64",
]
INFRA = [
    "================ verdicts: INFRA on the emulator, exit status 8 ================",
    "INFRA      contract    1 test could not judge; the cause is below",
    "INFRA      cost        1 test could not judge; the cause is below",
    "INFRA      consistency 2 tests could not judge; the cause is below",
    "PASS       accuracy    mAP 0.668 AP (≥ 0.661 AP), reference",
    "INFRA: atc ended with status 255: E10041 (4 tests could not judge, the first tes",
    "  ts/acceptance/test_contract.py::test_every_row_is_a_detection_or_padding[batc…",
    "gates: 1 of 3 judged; blocked: contract; not selected: consistency (by -k x)",
    "STAND-IN: measured on the emulator; says nothing about hardware.",
    "page: .artifacts/results/evidence.html",
    "details in .artifacts/results/results.json",
    "again: .venv/bin/pytest --lf tests/acceptance --batch-sizes 8,64",
]
NO_VERDICT = [
    "============= verdicts: NO VERDICT on the emulator, exit status 7 ==============",
    "STAND-IN   contract    broken rows 0 rows (≤ 0 rows), batch8, worst of 2",
    "NO VERDICT cost        OM size against champion not measured (≤ 1 %), batch64",
    "STAND-IN   consistency unexplained differences 0 detections (≤ 0), batch8",
    "NO VERDICT accuracy    mAP difference -0.0312 to 0.0124 AP (≥ -0.01 AP), batch64",
    "STAND-IN   throughput  rate against champion -0.4 % (≥ -1 %), batch8, worst of 2",
    "NO VERDICT: 3 selected tests did not run; also 1 gate without an answer (-v)",
    "gates: 20 of 22 judged; 1 missing; 1 not selected (by -k x)",
    "STAND-IN: measured on the emulator; says nothing about hardware.",
    "page: .artifacts/results/evidence.html",
    "details in .artifacts/results/results.json",
    "again: .venv/bin/pytest --lf tests/acceptance --batch-sizes 8,64",
]


def test_a_green_run_has_a_line_for_each_promise():
    """The gate that a reader would name first, on the batch size where it is nearest to its limit."""
    closer = {("accuracy.mAP_as_published", "batch64"): judged("accuracy.mAP_as_published", 0.35905, 0.359, "batch64")}
    document = ended(whole(change=closer), silent=[("published.slower", "batch8", State.DOES_NOT_APPLY)])
    assert shown(document) == GREEN


def test_a_number_without_a_limit_decides_nothing_beside_one_that_has_one():
    """A dataset without a published mAP is decided by the mAP that was recorded for it."""
    verdicts = [judged("accuracy.mAP_as_published", 0.654), judged("accuracy.mAP", 0.6707, 0.661)]
    (line,) = (line for line in shown(ended(verdicts)) if "  accuracy  " in line)
    assert "mAP 0.6707 AP (≥ 0.661 AP)" in line


def test_a_red_run_shows_what_is_furthest_beyond_its_limit():
    """In parts of the limit, of all red gates of the promise, whose others are counted; and the command for what failed."""
    red = {
        ("accuracy.mAP_as_published", "batch64"): judged("accuracy.mAP_as_published", 0.31, 0.359, "batch64"),
        ("paired.loss", "batch64"): judged("paired.loss", -0.0498, -0.01, "batch64"),
        ("proposals.cosine_boxes", "batch64"): judged("proposals.cosine_boxes", 0.71, 0.9999, "batch64"),
        ("consistency.unexplained", "batch64"): judged("consistency.unexplained", 812.0, 0.0, "batch64"),
    }
    document = ended(whole(change=red), status=1, silent=[("bias.size", "batch8", State.NOT_SELECTED)])
    assert shown(document) == RED


STAGE = {"stage": "network", "value": -0.0498, "low": -0.06, "high": -0.04}
LADDER = {"kind": "ladder", "subject": "batch64", "data": {"stages": [STAGE], "total": STAGE}}
LAYER = {"name": "/conv1", "operator": "Conv", "ratio": 90.0}
LAYERS = {"kind": "layers", "subject": "batch64", "data": {"layers": [LAYER], "first": "/conv1"}}


@pytest.mark.parametrize(
    ("evidence", "line"),
    [
        ([LADDER], "to blame: network, -0.0498 of -0.0498, batch64 alone"),
        ([LADDER, LAYERS], "to blame: network, -0.0498 of -0.0498, batch64 alone; first layer /conv1"),
        (
            [{**LADDER, "data": {**LADDER["data"], "within": True}}],
            "to blame: none: -0.0498 is within its limits; a low mAP is the reference's too",
        ),
        ([], RED[6]),
    ],
)
def test_a_red_run_says_what_is_to_blame(evidence, line):
    """Below the promises, as its paragraph has it; where nothing was looked for, the command that does."""
    red = {("paired.loss", "batch64"): judged("paired.loss", -0.0498, -0.01, "batch64")}
    assert shown(ended(whole(change=red), status=1) | {"evidence": evidence})[6] == line


def test_what_cannot_be_explained_has_no_command_for_it():
    """A red promise of another kind, an OM that was built elsewhere, results that are not there, or no room beside a cause."""
    red = {("paired.loss", "batch64"): judged("paired.loss", -0.0498, -0.01, "batch64")}
    cost = {("cost.om_size", "batch64"): judged("cost.om_size", 9.0, 1.0, "batch64")}
    nowhere = Ending("page: evidence.html", "not written: x/results.json (No space left on device)", "pytest")
    cause = {"test": TEST.format(f"{SLOTS}[batch8]"), "outcome": "FAIL", "phase": "call", "message": "broken"}
    emulator = {"stand_in": True, "soc_version": "Ascend310P3"}
    for document, ending in (
        (ended(whole(change=cost), 1), ENDING),
        (ended(whole(change=red), 1, settings={"om": "oms"}), ENDING),
        (ended(whole(change=red), 1), nowhere),
        (ended(whole(change=red, stand_in=True), 1, [cause], device=emulator), ENDING),
    ):
        assert "why: " not in "\n".join(shown(document, Screen(100), ending))


def test_a_machine_that_failed_is_said_once():
    """Tests of three promises that one cause stopped: a line of each, and the cause with its count."""
    first = TEST.format("test_contract.py::test_every_row_is_a_detection_or_padding[batch8]")
    message = "atc ended with status 255: E10041\n  → log: atc.log"
    unjudged = [{"test": first, "outcome": "INFRA", "phase": "setup", "message": message}]
    unjudged += [
        {"test": TEST.format(test), "outcome": "INFRA", "phase": "setup", "message": f"see the first: {first}"}
        for test in (f"{SLOTS}[batch8]", f"{SLOTS}[batch64]", "test_cost.py::test_the_om_costs_no_more_than_the_champion[batch8]")
    ]  # fmt: skip
    verdicts = [judged("accuracy.reference_mAP", 0.668, 0.661, "reference")]
    silent = [("contract.broken_rows", "batch8", State.BLOCKED), ("bias.size", "batch8", State.NOT_SELECTED)]
    document = ended(verdicts, 8, unjudged, silent, {"stand_in": True, "soc_version": "Ascend310P3"})
    assert shown(document) == INFRA


def test_an_undecided_run_shows_the_interval_that_holds_the_limit():
    """NO VERDICT by a number, by tests that did not run and by gates that were required: the last two in what room is left."""
    change = {
        ("paired.loss", "batch64"): judged("paired.loss", -0.0046, -0.01, "batch64", interval=(-0.0312, 0.0124)),
        ("cost.om_size", "batch64"): judged("cost.om_size", 0.0, 1.0, "batch64", n=0),
    }
    silent = [("bias.size", "batch8", State.NOT_SELECTED), ("inputs.wrong", "inputs", State.MISSING)]
    document = ended(
        whole(change=change, stand_in=True), 7, silent=silent, device={"stand_in": True}, gates_not_run=3
    )  # fmt: skip
    assert shown(document) == NO_VERDICT


def test_of_recorded_numbers_none_is_the_worst():
    """Without a limit there is no better and no worse."""
    verdicts = [judged("cost.recorded", 239412.0 + size, subject=f"batch{size}", stand_in=True) for size in (1, 4, 8)]
    assert shown(ended(verdicts))[1] == "STAND-IN   cost        OM size 239,413 B (recorded), batch1"


def test_what_is_not_a_number_is_beyond_every_limit():
    """NaN decides before any number."""
    red = {
        ("accuracy.mAP_as_published", "batch8"): judged("accuracy.mAP_as_published", float("nan"), 0.359),
        ("paired.loss", "batch64"): judged("paired.loss", -0.5, -0.01, "batch64"),
    }
    (line,) = [line for line in shown(ended(whole(change=red), 1)) if line.startswith("FAIL")]
    assert "mAP as published nan AP (≥ 0.359 AP), batch8; 1 more" in line


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "gbk"])
def test_lines_fit_every_width_and_encoding(width, encoding):
    """Signs that the encoding lacks fall back to ASCII before lines are cut."""
    red = {("consistency.unexplained", "batch64"): judged("consistency.unexplained", 812.0, 0.0, "batch64")}
    document = ended(whole(change=red, stand_in=True), 1, device={"stand_in": True})
    lines = shown(document, Screen(width, encoding), Ending("page: evidence.html", "results.json", "pytest"))
    "\n".join(lines).encode(encoding)
    assert ("812 detections (<= 0" in "\n".join(lines)) == (encoding in ("ascii", "cp1252"))
    assert STAND_IN in lines or width < len(STAND_IN)


@pytest.mark.parametrize(
    ("key", "value", "bound", "words"),
    [
        ("cost.om_size", 0.5, 1.0, "OM size against champion 0.5 % (≤ 1 %), batch8"),
        ("inputs.way_back", 3.05e-05, 0.01, "inverse letterbox error 3.05e-05 px (≤ 0.01 px), batch8"),
        ("consistency.unexplained", 3.0, 0.0, "unexplained differences 3 detections (≤ 0), batch8"),
        ("between_batch_sizes.unmatched", 0.0, 0.02, "unmatched detections between ba… 0 share (≤ 0.02), batch8"),
        ("cost.recorded", 239412.0, None, "OM size 239,412 B (recorded), batch8"),
    ],
)
def test_a_unit_stands_with_its_value(key, value, bound, words):
    """And with the limit as well, as far as the line holds it; only then the name is cut."""
    line = shown(ended([judged(key, value, bound)]))[1]
    assert line[23:] == words


def test_a_cause_has_the_lines_that_are_left():
    """What says why often stands behind a long path: it is not cut while there is room, and never where there is none."""
    message = "/long_folder" * 7 + "/model.om failed (the heartbeat of the device is lost)"
    unjudged = [{"test": "x.py::a", "outcome": "INFRA", "phase": "call", "message": message}]
    lines = shown(ended([judged("contract.broken_rows", 0.0, 0.0)], 8, unjudged))
    start = next(number for number, line in enumerate(lines) if line.startswith("INFRA: "))
    said = "".join([lines[start], *(line[2:] for line in lines[start + 1 : start + 3])])
    assert said.startswith(f"INFRA: {message}"), "\n".join(lines)


def test_what_there_is_no_room_for_is_named_and_counted():
    """By kind: causes, tests that did not run, gates without an answer, other failures."""
    unjudged = [
        {"test": TEST.format(f"{SLOTS}[batch{size}]"), "outcome": "INFRA", "phase": "call", "message": f"error {size}"}
        for size in (1, 4)
    ]
    document = ended(whole(stand_in=True), 1, unjudged, [("inputs.wrong", "inputs", State.MISSING)], {"stand_in": True})
    document["run"] |= {"gates_not_run": 1, "other_failures": 2}
    also = "1 more cause, 1 test that did not run, 1 gate without an answer, 2 other failures"
    for width, end in ((200, f"; also {also} (-v)"), (80, "; 5 more: causes, tests, gates, failures (-v)")):
        (line,) = [line for line in shown(document, Screen(width)) if line.startswith("INFRA: ")]
        assert line.endswith(end), line


def test_more_causes_than_there_is_room_for_are_counted():
    """Twelve lines hold; the rest is in the table of `-v`."""
    unjudged = [
        {"test": TEST.format(f"{SLOTS}[batch{size}]"), "outcome": "FAIL", "phase": "call", "message": f"error {size}"}
        for size in range(1, 21)
    ]
    lines = shown(ended(whole(stand_in=True), 1, unjudged, device={"stand_in": True}))
    assert len(lines) == MOST
    (cause,) = [line for line in lines if line.startswith("FAIL: ")]
    assert cause.startswith("FAIL: error 1 (")
    assert cause.endswith("; also 19 more causes (-v)")


ROLL_OF_ALL = "gates: 20 of 24 judged"
OTHERS = "1 missing; 1 blocked; 1 not selected; 1 does not apply"


@pytest.mark.parametrize("width", [40, 47, 53, 79, 81])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nothing_is_wider_than_the_screen(width, encoding):
    """Of a run with all that can be said: notes of every kind, gates of every state, long names; only what is pasted may be longer."""
    unjudged = [
        {"test": TEST.format(f"{SLOTS}[batch{size}]"), "outcome": "INFRA", "phase": "call", "message": "broken " * size}
        for size in (1, 40)
    ]
    states = (State.NOT_SELECTED, State.BLOCKED, State.DOES_NOT_APPLY, State.MISSING)
    keys = ("bias.size", "bias.score", "inputs.wrong", "accuracy.ruler")
    silent = [(key, "batch1", state) for key, state in zip(keys, states, strict=True)]
    document = ended(whole(stand_in=True), 1, unjudged, silent, {"stand_in": True})
    document["run"] |= {"gates_not_run": 1, "other_failures": 2}
    lines = [line for _, line in last_lines(document, Ending("page: x", "y"), Screen(width, encoding))]
    assert lines.pop().startswith("again: "), "the command is the last line"
    widest = max(lines, key=len)
    assert len(widest) <= width, f"{len(widest)} columns instead of {width}: {widest}"
    (roll,) = (line for line in lines if line.startswith("gates: "))
    assert roll in (f"{ROLL_OF_ALL}; {OTHERS}", f"{ROLL_OF_ALL} (-v has all others)", ROLL_OF_ALL), "it is cut"
    assert len(lines) < MOST, f"{len(lines)} lines and the command are more than {MOST}"


@pytest.mark.parametrize(
    ("last_failed", "failed", "command"),
    [
        (True, 2, ".venv/bin/pytest --lf tests/acceptance --batch-sizes 8,64"),
        (False, 1, f"pytest '{TEST.format(SLOTS)}[batch0]' --batch-sizes 8,64"),
        (False, 2, "pytest tests/acceptance --batch-sizes 8,64"),
        (True, 0, "pytest tests/acceptance --batch-sizes 8,64"),
    ],
)
def test_one_command_runs_again_what_failed(last_failed, failed, command):
    """By pytest's memory of it, by the test's id if there is no such memory, or all of the run; whole, whatever its length."""
    unjudged = [
        {"test": TEST.format(f"{SLOTS}[batch{number}]"), "outcome": "FAIL", "phase": "call", "message": "broken"}
        for number in range(failed)
    ]
    ending = Ending("", "results.json", ".venv/bin/pytest", last_failed)
    *_, last = last_lines(ended(status=1, unjudged=unjudged, gates_not_run=1), ending, Screen())
    assert last == ("", f"again: {command}")


def test_words_are_those_of_the_verdicts():
    """Each line's word is its colour's."""
    red = {("paired.loss", "batch64"): judged("paired.loss", -0.5, -0.01, "batch64")}
    words = [word for word, _ in last_lines(ended(whole(change=red), 1), ENDING, Screen())]
    assert words == ["FAIL", "PASS", "PASS", "PASS", "FAIL", "PASS", "", "", "", "", ""]
    assert set(words) - {""} <= {outcome.value for outcome in Outcome}
