"""One case of each kind of the gate proof is caught, or stays green; `pytest -m gateproof` runs all of them."""

import pytest

from fixtures.options import settings
from tests.gateproof.case import verdict_on
from tests.gateproof.catalogue import CONTROLS, DEFECTS
from tests.gateproof.child import prepare, run_case
from tests.prepared import once

OF_EACH_KIND = (
    "bgr_rgb", "bgr_rgb_with_kept_references", "class_rolled", "outputs_swapped", "picture_missing", "slower_3", "ties_exchanged",
)  # fmt: skip
"""In the pictures, beside what is kept of an earlier run, in the network, on the device, in the bookkeeping, in time, and nothing."""
CASES = {case.name: case for case in (*DEFECTS, *CONTROLS)}


@pytest.fixture(scope="session")
def prepared(request, tmp_path_factory):
    """Artifacts of an undisturbed run of everything, whose OM is the champion."""
    earlier = settings(request.config).artifacts
    return once(tmp_path_factory, "gateproof", lambda folder: prepare(folder / "run", earlier)) / "run" / "artifacts"


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_a_gate_fires_on_its_defect_and_on_nothing_else(name, prepared, tmp_path):
    """A run of the real suite with the defect in it: the gates that the case names are red, and say why."""
    case = CASES[name]
    outcome, changed = run_case(case, tmp_path / "run", prepared)
    verdict = verdict_on(case, outcome, changed)
    assert verdict == ("green" if case.control else "caught"), f"{case.what}: {verdict}\n{outcome.output[-6000:]}"
