"""What a CI job gets from a run: a summary, annotations, JUnit with properties, results that keep to their schema."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from fcos_lib.evidence.schema import results_schema
from fcos_lib.options.table import OPTIONS
from fixtures import github
from tests.prepared import outer_environment, take_over

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def job(tmp_path_factory, prepared):
    """A run in a GitHub job: contract and throughput on the emulator, red for want of a baseline."""
    folder = tmp_path_factory.mktemp("job")
    take_over(prepared, folder / "artifacts")
    command = [
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/acceptance", "-m", "contract or throughput",
        "--npu", "emulated", "--batch-sizes", "2", "--require-baseline", f"--artifacts={folder / 'artifacts'}",
        f"--benchmark-storage={folder / 'benchmarks'}", f"--junit-xml={folder / 'junit.xml'}",
    ]  # fmt: skip
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_WORKSPACE": str(ROOT),
    }
    environ |= {"FORCE_COLOR": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=outer_environment() | environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return folder, done.stdout


@pytest.fixture
def results(job):
    """The results.json of that run."""
    return json.loads((job[0] / "artifacts" / "results" / "results.json").read_text(encoding="utf-8"))


def test_real_results_keep_to_the_published_schema(results):
    """As any JSON Schema validator sees it."""
    jsonschema.Draft202012Validator(results_schema()).validate(results)


def test_the_schema_describes_what_a_run_writes(results):
    """Every key of a run and its settings is in the schema, and the other way round."""
    described = results_schema()["$defs"]
    assert set(results["run"]) == set(described["Run"]["properties"])
    assert set(results["run"]["settings"]) == set(described["Settings"]["properties"])
    assert set(results) == set(results_schema()["properties"]), "top level"


def test_settings_are_named_as_options(results):
    """So that another tool can repeat the run: `--batch-sizes` is `batch_sizes`."""
    names = {"--" + name.replace("_", "-") for name in results["run"]["settings"]} - {"--annotations-sha256"}
    assert names == set(OPTIONS)
    assert results["run"]["settings"]["batch_sizes"] == [2]
    assert re.fullmatch("[0-9a-f]{64}", results["run"]["settings"]["annotations_sha256"])


def test_the_jobs_page_has_the_verdicts(job):
    """With the stand-in said, and the red gate with its command."""
    text = (job[0] / "summary.md").read_text(encoding="utf-8")
    assert text.startswith("## FCOS acceptance: FAIL (exit status 1)")
    assert "STAND-IN: measured on the emulator" in text
    assert "### throughput\\[batch2\\] baseline is FAIL" in text


def test_each_red_gate_is_annotated_at_its_test(job):
    """At the line where the test begins, in the repository's own words."""
    (line,) = [line for line in job[1].splitlines() if line.startswith("::error ")]
    found = re.match(r"::error file=([^,]+),line=(\d+),title=throughput\[batch2\] baseline is FAIL::", line)
    assert found, line
    source = (ROOT / found[1]).read_text(encoding="utf-8").splitlines()
    assert "def test_throughput_has_not_fallen" in "\n".join(source[int(found[2]) - 1 : int(found[2]) + 1])


def test_no_color_wins(job):
    """Even where colour is forced, as no-color.org has it."""
    assert "\x1b[" not in job[1]


def test_junit_has_stable_names_and_every_number(job):
    """Dashboards follow a test by class and name, and a number by its name and limit."""
    cases = {
        (case.get("classname"), case.get("name")): [
            (one.get("name"), one.get("value")) for one in case.iter("property")
        ]
        for case in ElementTree.parse(job[0] / "junit.xml").iter("testcase")
    }
    contract = [key for key in cases if key[0] == "tests.acceptance.test_contract"]
    assert all("[batch2]" in name or "reference" in name for _, name in contract), contract
    properties = cases["tests.acceptance.test_throughput", "test_throughput_has_not_fallen[batch2]"]
    red = "baseline [--require-baseline]"
    assert (f"{red}: measured", "0 accepted") in properties
    assert (f"{red}: limit", "at least 1 accepted") in properties
    assert (f"{red}: stand_in", "true") in properties
    assert (f"{red}: outcome", "FAIL") in properties
    assert ("verdict", "FAIL: throughput[batch2] baseline 0 accepted, must be at least 1 accepted") in properties
    verdicts = {value for each in cases.values() for name, value in each if name == "verdict"}
    assert "STAND-IN: contract[batch2] broken rows 0 rows, must be at most 0 rows" in verdicts


RED = {
    "run": {}, "environment": {}, "artifacts": [], "verdicts": [], "evidence": [],
    "unjudged": [{"test": "tests/x.py::y", "outcome": "INFRA", "message": "no\ndisk"}],
}  # fmt: skip


def test_a_summary_that_cannot_be_written_is_said_and_hides_nothing(tmp_path, monkeypatch):
    """The annotations come all the same."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    said = []
    github.show(RED, {"tests/x.py::y": 3}, tmp_path, said.append)
    assert said == [
        f"summary not written: {tmp_path} ({tmp_path} is not a file)",
        "::error file=tests/x.py,line=3,title=INFRA%3A no (tests/x.py%3A%3Ay could not judge)::no%0Adisk",
    ]


def test_gates_that_did_not_run_are_annotated(tmp_path, monkeypatch):
    """Silence is not success."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    said = []
    github.show(RED | {"unjudged": [], "run": {"gates_not_run": 3}}, {}, tmp_path, said.append)
    assert said == ["::error title=NO VERDICT::3 selected tests did not run"]


def test_a_file_that_nobody_could_judge_breaks_nothing(tmp_path, monkeypatch):
    """A defect of ours in drawing must not cost the verdicts."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    said = []
    github.show({"verdicts": None}, {}, tmp_path, said.append)
    assert [line.partition(" not written")[0] for line in said] == ["summary", "annotations"]


def test_outside_of_a_job_nothing_is_shown(tmp_path, monkeypatch):
    """A terminal is no job."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    said = []
    github.show(RED, {}, tmp_path, said.append)
    assert said == []
