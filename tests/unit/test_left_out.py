"""Whatever leaves gates out, the run says so, and with --require it is not green."""

import json
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.prepared import outer_environment

ROOT = Path(__file__).parents[2]
COLLECT = ("--collect-only", "-q", "--npu", "emulated", "--batch-sizes", "4")


def why(gates, key):
    """State and reason of one gate."""
    (entry,) = [entry for entry in gates if entry["key"] == key]
    return entry["state"], entry["why"]


LEFT_OUT = [
    (("-m", "contract"), "bias.size", "not selected", "by -m 'contract'"),
    (("-k", "not consistency", "tests/acceptance"), "bias.size", "not selected", "by -k 'not consistency'"),
    (("-k", "slot or batch_size", "tests/acceptance"), "accuracy.mAP", "not selected", "by -k 'slot or batch_size'"),
    (
        ("--deselect", "tests/acceptance/test_consistency.py", "tests/acceptance"), "bias.size", "not selected",
        "by --deselect tests/acceptance/test_consistency.py",
    ),
    (
        ("--ignore", "tests/acceptance/test_consistency.py", "tests/acceptance"), "bias.size", "not selected", "by --ignore",
    ),
    (("tests/acceptance/test_cost.py",), "bias.size", "not selected", "by the paths given: tests/acceptance/test_cost.py"),
    (("--golden-only", "tests/acceptance"), "bias.size", "not selected", "by --golden-only"),
    (("-o", "python_files=check_*.py", "tests/acceptance"), "bias.size", "missing", None),
    (("-o", "python_functions=check_*", "tests/acceptance"), "bias.size", "missing", None),
]  # fmt: skip
TYPOS = [("contract or acuracy", "accuracy"), ("acuracy", "accuracy"), ("not throughputt", "throughput")]
PLUGINS = ["fixtures.reports", "fcos-reports", "fixtures.selection", "fixtures.verdicts"]


@pytest.fixture(scope="module")
def ended(tmp_path_factory, copies):
    """Exit status, output and artifact folder of a collection with each of these arguments."""
    folder = tmp_path_factory.mktemp("left_out")
    asked = [(*COLLECT, *arguments, "--require", "all") for arguments, *_ in LEFT_OUT]
    asked += [("--collect-only", "-m", expression) for expression, _ in TYPOS]
    asked += [("--collect-only", "-m", "contract", "-p", f"no:{plugin}") for plugin in PLUGINS]
    folders = [folder / f"artifacts-{number}" for number in range(len(asked))]
    lines = [
        ["-p", "no:cacheprovider", f"--artifacts={artifacts}", f"--junit-xml={artifacts}.xml", *arguments]
        for arguments, artifacts in zip(asked, folders, strict=True)
    ]
    outcomes = copies.run_all(lines, outer_environment() | {"FCOS_EMULATOR": "", "COLUMNS": "200"})
    return {
        arguments: (done.returncode, done.stdout + done.stderr, artifacts)
        for arguments, done, artifacts in zip(asked, outcomes, folders, strict=True)
    }


@pytest.mark.parametrize(("arguments", "key", "state", "reason"), LEFT_OUT)
def test_a_gate_that_was_left_out_is_named_with_the_reason(ended, arguments, key, state, reason):
    """Exit 7 with --require; results.json says by what, and so does the JUnit file in a property of the suite."""
    status, output, artifacts = ended[(*COLLECT, *arguments, "--require", "all")]
    assert status == 7, output
    said = why(json.loads((artifacts / "results" / "results.json").read_text())["gates"], key)
    assert said[0] == state, said
    assert reason in (None, said[1]), said
    properties = {
        entry.get("name"): entry.get("value") for entry in ET.parse(f"{artifacts}.xml").getroot().iter("property")
    }
    assert properties[f"gate {key}[batch4]"] == f"{said[0]}: {said[1]}"


def test_options_from_the_environment_are_named_as_such(suite, tmp_path):
    """PYTEST_ADDOPTS of a runner changes every run on it; the recorded command has it too."""
    command, environ = suite(*COLLECT, "--require", "accuracy", "tests/acceptance")
    environ |= {"PYTEST_ADDOPTS": "-k 'not accuracy'", "FCOS_NOTE": "two words"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stdout + done.stderr
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    assert why(document["gates"], "accuracy.mAP") == ("not selected", "by -k 'not accuracy' in PYTEST_ADDOPTS")
    assert document["run"]["command"][:3] == ["env", "FCOS_EMULATOR=", "FCOS_NOTE=two words"]
    assert "PYTEST_ADDOPTS=-k 'not accuracy'" in document["run"]["command"]


def test_the_last_failed_alone_are_not_the_whole_suite(suite, tmp_path):
    """`--lf` after one red test runs that one."""
    command, environ = suite(*COLLECT, "-m", "contract or cost", "--require", "cost", "--lf")
    command = [word for word in command if word not in ("-p", "no:cacheprovider")]
    cache = tmp_path / "cache" / "v" / "cache"
    cache.mkdir(parents=True)
    failed = "tests/acceptance/test_inputs.py::test_the_network_gets_what_the_recipe_gives_it"
    (cache / "lastfailed").write_text(json.dumps({failed: True}))
    command += ["-o", f"cache_dir={tmp_path / 'cache'}"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stdout + done.stderr
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    assert why(document["gates"], "cost.om_size") == ("not selected", "by --lf")


@pytest.mark.parametrize(("expression", "nearest"), TYPOS)
def test_a_typo_in_a_marker_is_exit_4_with_the_nearest(ended, expression, nearest):
    """It used to drop a promise, or select nothing."""
    status, output, _ = ended["--collect-only", "-m", expression]
    assert status == 4, output
    assert f"the nearest is '{nearest}'" in output


@pytest.mark.parametrize("plugin", PLUGINS)
def test_what_judges_cannot_be_taken_away(ended, plugin):
    """`-p no:...` is exit 4."""
    status, output, _ = ended["--collect-only", "-m", "contract", "-p", f"no:{plugin}"]
    assert status == 4, output
    assert "takes away what judges" in output


def test_nothing_of_what_judges_can_be_taken_away(pytestconfig):
    """Each plugin that the project loads, by its name."""
    wiring = pytestconfig.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    assert {"fixtures.reports", "fixtures.verdicts", "fcos-reports"} <= set(wiring.NEEDED)
    for plugin in wiring.NEEDED:
        manager = SimpleNamespace(is_blocked=lambda name, plugin=plugin: name == plugin)
        with pytest.raises(pytest.UsageError, match=f"no:{plugin} takes away what judges"):
            wiring.pytest_configure(SimpleNamespace(pluginmanager=manager))


@pytest.mark.parametrize("asked", [(), ("--require", "contract")], ids=["plain", "required"])
def test_a_renamed_gate_file_is_missed(checkout, run_in, tmp_path, asked):
    """With or without --require: nobody left it out, and it is not there."""
    folder = checkout(tmp_path / "checkout")
    gates = folder / "tests" / "acceptance"
    (gates / "test_inputs.py").rename(gates / "inputs_test_old.py")
    done = run_in(folder, "-p", "no:cacheprovider", *COLLECT, "-vv", *asked)
    assert done.returncode == 7, done.stdout + done.stderr
    assert (
        "missing: inputs.wrong, inputs.way_back on inputs (tests/acceptance/test_inputs.py is not there" in done.stdout
    )


def test_without_the_whole_folder_of_gates_a_run_is_not_green(checkout, run_in, tmp_path):
    """Nothing selected, nothing judged."""
    folder = checkout(tmp_path / "checkout")
    (folder / "tests" / "acceptance").rename(folder / "tests" / "acceptence")
    done = run_in(folder, "-p", "no:cacheprovider", *COLLECT)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "tests/acceptance is not" in done.stderr


def test_workers_hand_over_what_was_left_out(run, tmp_path):
    """Under -n the workers collect, and the controller writes."""
    done = run("-n", "2", "-m", "cost", "--npu", "emulated", "--batch-sizes", "4", "--require", "consistency")
    assert done.returncode == 7, done.stdout + done.stderr
    gates = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())["gates"]
    assert why(gates, "bias.size") == ("not selected", "by -m 'cost'")
    assert why(gates, "cost.om_size")[0] == "blocked"
