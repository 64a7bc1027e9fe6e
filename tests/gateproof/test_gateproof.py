"""The gate proof: every gate fires on the defect that it is there for, and stays green where nothing is wrong.

Each case is one run of the real suite in a process of its own; the defect sits in a public function of the pipeline, and the
gates know nothing of it. `pytest -m gateproof` runs all, `pytest -m gateproof -k bgr_rgb` one.
"""

import json
import os
import shutil

import pytest

from fixtures.options import settings
from tests.gateproof.case import verdict_on
from tests.gateproof.catalogue import CONTROLS, DEFECTS
from tests.gateproof.child import prepare, run_case
from tests.prepared import once, own_cores

pytestmark = pytest.mark.gateproof


@pytest.fixture(scope="session")
def prepared(request, tmp_path_factory):
    """Artifacts of an undisturbed run, whose OM is the champion."""
    earlier = settings(request.config).artifacts
    return once(tmp_path_factory, "gateproof", lambda folder: prepare(folder / "run", earlier)) / "run" / "artifacts"


@pytest.fixture
def pinned(prepared):
    """Under -n every worker's runs keep to cores of their own: a throughput that is measured beside others is none."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, own_cores(cores))
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture
def proof(prepared, pinned, tmp_path, record_property):
    """Run a case, note what came of it, and fail with the suite's own output unless it is what the case says."""

    def run(case):
        outcome, changed = run_case(case, tmp_path / "run", prepared)
        verdict = verdict_on(case, outcome, changed)
        facts = {
            "name": case.name, "what": case.what, "control": case.control, "named": case.gates, "verdict": verdict,
            "red": outcome.red, "judged": sorted(set(outcome.gates)), "exit_status": outcome.status,
            "processes": len({path.name.partition("-")[2] for path in outcome.traces}),
            "seconds": round(outcome.seconds, 1),
        }  # fmt: skip
        record_property("gateproof", json.dumps(facts))
        if verdict not in ("caught", "green"):
            said = "\n".join(f"  {gate}: {text[:600]}" for gate, text in outcome.red.items())
            pytest.fail(f"{case.name} ({case.what}): {verdict}\n{said}\n{outcome.output[-6000:]}", pytrace=False)
        shutil.rmtree(tmp_path / "run")

    return run


@pytest.mark.parametrize("case", DEFECTS, ids=lambda case: case.name)
def test_a_defect_is_caught(case, proof):
    """The gates that the case names are red, say what is wrong, and the run's exit status is not 0."""
    proof(case)


@pytest.mark.parametrize("case", CONTROLS, ids=lambda case: case.name)
def test_a_harmless_change_stays_green(case, proof):
    """Every gate is green and the exit status is 0."""
    proof(case)
