"""A run in an artifact folder of any name: it builds, loads, judges and is found again, as in any other."""

import json
import os
import shlex

import pytest

from fcos_lib.cli.main import main
from fcos_lib.options.option import path as as_path

CONTRACT = ("-m", "contract", "--npu", "emulated", "--batch-sizes", "2", "--pictures", "8")
TEST = "tests/acceptance/test_contract.py"
"""The gate that builds an OM, loads it and runs it."""


@pytest.fixture
def odd(tmp_path):
    """A folder with what shells, formats, atc, aclruntime and PATH make something of in its name."""
    return tmp_path / "data" / 'it\'s my: 产物 #1 100% $;"x" -o' / "--store"


def test_a_run_in_a_folder_of_any_name_is_like_any_other(run, odd, tmp_path, outer_environment, capsys):
    """A red one says how to run it again there, the next finds what it built; the folder for temporary files has such a name too."""
    temporary = tmp_path / "my temp"
    temporary.mkdir()
    outer_environment["TMPDIR"] = str(temporary)
    red = run(*CONTRACT, TEST, artifacts=odd, scenario="load=opp")
    assert red.returncode == 1, red.stdout + red.stderr
    assert len(list(odd.glob("om/*/model.om"))) == 1, "the OM was not built"
    assert "/plain-" not in red.stdout + red.stderr, red.stdout + red.stderr
    (line,) = [line for line in red.stdout.splitlines() if line.startswith("again: ")]
    words = shlex.split(line.removeprefix("again: "))
    assert as_path(words[words.index("--artifacts") + 1]) == odd, f"run again in another folder: {line}"

    green = run(*CONTRACT, TEST, artifacts=odd)
    assert green.returncode == 0, green.stdout + green.stderr
    assert "artifacts: 0 built, 2 reused" in green.stdout
    results = odd / "results" / "results.json"
    assert json.loads(results.read_text(encoding="utf-8"))["run"]["settings"]["artifacts"] == str(odd)
    assert main(["attest", str(results), "-o", str(odd / "statement.json")]) == 0, capsys.readouterr().err
    kept = [path for path in odd.rglob("*") if path.is_file() and path.suffix != ".om"]
    assert {"results.json", "statement.json", "atc.log", "evidence.html"} <= {path.name for path in kept}
    named = [path for path in kept if b"/plain-" in path.read_bytes()]
    assert not named, "these name the folder in which atc and aclruntime worked"
    left = {path.name for path in temporary.rglob("*")} - {f"fcos_lib-{os.getuid()}", "npu-smi.lock"}
    assert not left, f"{left} stayed in the folder for temporary files"
