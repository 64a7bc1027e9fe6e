"""Whatever goes wrong, the verdict names the right culprit, the words say what happened, and nothing is left behind."""

import pytest

from tests.unit.faults.conftest import numbers
from tests.unit.faults.page import PAGE, all_faults, text
from tests.unit.faults.stage import ACCURACY, GATE, SLOW

FAULTS = all_faults()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_ends_as_the_table_says(fault, stage, expected, record_property):
    """Exit status, words, and what is left; then the same run without the fault."""
    scene = stage(fault.without)
    said = fault.play(scene)
    record_property("fault", f"{fault.name}: {said.status}")
    assert said.status in (fault.status, fault.also), said.output
    for words in fault.says:
        assert words in said.output, said.output
    assert "Traceback (most recent call last)" not in said.output or "Ctrl-C" in fault.what, said.output
    left = scene.left()
    assert not left, "\n".join(left)
    if fault.check:
        fault.check(scene, said)
    if fault.again == "green":
        assert (again := scene.suite(*GATE)).status == 0, again.output
    if fault.again == "equal":
        again = scene.suite(*ACCURACY, scenario=SLOW)
        assert numbers(again.document) == expected, again.output
        (counted,) = [
            verdict for verdict in again.document["verdicts"] if verdict["key"] == "accuracy.not_counted_once"
        ]
        assert counted["measurement"]["details"]["evaluation"]["resumed"] > 0, again.output


def test_the_page_is_in_step():
    """docs/faults.md is written by tools/make_faults_page.py."""
    assert PAGE.read_text(encoding="utf-8") == text(), "run tools/make_faults_page.py"


def test_there_are_enough_faults():
    """No name twice, and not fewer than there were."""
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 60
