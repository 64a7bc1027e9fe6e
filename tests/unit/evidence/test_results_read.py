"""A `results.json` is believed only as far as its published schema goes, and the schema is what the suite writes."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from fcos_lib.cli.main import main
from fcos_lib.errors import UsageError
from fcos_lib.evidence import schema
from fcos_lib.evidence.results import again, has_stand_in, read_results, stored_verdict
from fcos_lib.evidence.schema import SCHEMA_VERSION, Results, results_schema
from fcos_lib.files import printable
from fcos_lib.records import record_of
from tests.unit.evidence.entries import verdict


@pytest.fixture
def document():
    """A small run with everything that the schema knows."""
    device = {"stand_in": False, "device_id": 0, "name": "310P3", "soc_version": "Ascend310P3", "health": "OK"}
    run = {
        "schema_version": 3,
        "run": {"command": ["pytest"], "options": "--aipp", "exit_status": 7, "started_at": "2026-01-01T00:00:00Z",
                "seconds": 1.5, "gates": 2, "gates_not_run": 0, "settings": {"npu": "auto", "batch_sizes": [8]}},
        "environment": {"python": "3.11.7", "packages": {"numpy": "2.0", "mmdet": None}, "device": device},
        "artifacts": [{"kind": "om", "key": "k", "built": True, "files": {"model.om": "0" * 64}, "provenance": {"batch": 8}}],
        "verdicts": [verdict(0.3551, where="worst: cat", interval=(0.35, 0.36))],
        "unjudged": [{"test": "tests/a.py::c", "phase": "setup", "outcome": "INFRA", "message": "no disk"}],
        "gates": [{"key": "accuracy.mAP", "promise": "accuracy", "name": "mAP", "subject": "batch8", "state": "judged",
                   "why": "", "recorded": False}],
        "evidence": [{"kind": "scatter", "subject": "batch8", "data": {"points": [[0.5, 0.4]], "total": 1}}],
    }  # fmt: skip
    return json.loads(json.dumps(run))


@pytest.fixture
def read(tmp_path):
    """Reads what is written: a document, or text."""

    def write(content):
        path = tmp_path / "results.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return read_results(path)

    return write


MUTATIONS = {
    "no-list": (("verdicts",), {}),
    "no-object": (("run",), []),
    "no-verdict": (("verdicts", 0), "PASS"),
    "unknown-outcome": (("verdicts", 0, "outcome"), "GREAT"),
    "outcome-of-another-type": (("verdicts", 0, "outcome"), True),
    "value-as-text": (("verdicts", 0, "measurement", "value"), "0.36"),
    "value-as-truth": (("verdicts", 0, "measurement", "value"), True),
    "n-with-a-fraction": (("verdicts", 0, "measurement", "n"), 1.5),
    "n-below-zero": (("verdicts", 0, "measurement", "n"), -1),
    "half-an-interval": (("verdicts", 0, "measurement", "interval"), [1]),
    "interval-of-text": (("verdicts", 0, "measurement", "interval"), ["a", "b"]),
    "bound-as-text": (("verdicts", 0, "limit", "bound"), "1"),
    "limit-as-list": (("verdicts", 0, "limit"), []),
    "file-without-hash": (("artifacts", 0, "files", "model.om"), None),
    "stand-in-as-text": (("environment", "device", "stand_in"), "no"),
    "package-as-number": (("environment", "packages", "numpy"), 2),
    "command-as-text": (("run", "command"), "pytest"),
    "options-as-list": (("run", "options"), ["--aipp"]),
    "evidence-as-object": (("evidence",), {}),
    "evidence-without-data": (("evidence", 0), {"kind": "scatter", "subject": "x"}),
    "unjudged-without-test": (("unjudged", 0), {"outcome": "INFRA"}),
    "unchanged": (("run", "gates"), 2),
    "no-device": (("environment", "device"), None),
    "further-key": (("environment", "novelty"), {"deep": [1]}),
    "further-key-of-the-file": (("novelty",), []),
    "further-key-of-a-run": (("run", "unanswerd"), 3),
    "further-key-of-a-verdict": (("verdicts", 0, "lack"), "accuracy.x"),
    "further-key-of-a-measurement": (("verdicts", 0, "measurement", "intervall"), [0, 1]),
    "further-key-of-a-limit": (("verdicts", 0, "limit", "picture_set"), {}),
    "further-key-of-a-gate": (("gates", 0, "record"), True),
    "nan-as-text": (("verdicts", 0, "measurement", "value"), "nan"),
}


def changed(document, path, value):
    """The document with one place changed."""
    copied = copy.deepcopy(document)
    node = copied
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return copied


def fault(document):
    """What the reader has against a document; empty if nothing."""
    try:
        record_of(document, Results)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_the_reader_agrees_with_jsonschema(document, mutation):
    """What reads a file and what others validate it with never differ."""
    suspect = changed(document, *mutation)
    assert jsonschema.Draft202012Validator(results_schema()).is_valid(suspect) is not bool(fault(suspect))


def test_the_published_schema_is_that_of_the_types():
    """Of the draft that it names, for the version that is written."""
    published = json.loads(Path(schema.__file__).with_name("results.schema.json").read_text())
    again = "json.dumps(fcos_lib.evidence.schema.results_schema(), indent=1) writes it"
    assert published == results_schema(), f"results.schema.json is not what the types say; {again}"
    jsonschema.Draft202012Validator.check_schema(published)
    assert published["properties"]["schema_version"] == {"enum": [SCHEMA_VERSION]}


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("verdicts", 0, "measurement", "n"), -1, "verdicts[0].measurement.n: Expected `int` >= 0"),
        (("verdicts", 0, "outcome"), "GREEN", "verdicts[0].outcome: Invalid enum value 'GREEN'"),
        (("run", "gates"), 2.0, "run.gates: Expected `int`, got `float`"),  # JSON Schema takes it, and nobody writes it
        (("run", "unanswerd"), 3, "run: Object contains unknown field `unanswerd`"),
    ],
)
def test_a_problem_names_its_place(document, path, value, problem):
    """Down to the field."""
    assert fault(changed(document, path, value)) == problem


def test_a_document_survives(document, read):
    """Nothing is added and nothing is left out."""
    assert read(document) == document


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_older_version_is_read_under_todays_names(document, read, version):
    """Up to version 2 proposals were candidates; what a user named so stays. The oldest had neither evidence nor `unjudged`."""
    named = document | {
        "verdicts": [verdict(0.4) | {"key": "proposals.non_finite", "lacks": "proposals.my-own.non_finite",
                                     "test": "tests/acceptance/test_proposals.py::test_x[batch4]", "gate": "consistency[batch4] non-finite proposals"}],
        "evidence": [{"kind": "levels", "subject": "all", "data": {"levels": [{"name": "P3", "proposals": None}]}}],
    }  # fmt: skip
    old = json.loads(json.dumps(named).replace("proposals", "candidates")) | {"schema_version": version}
    old["run"]["settings"] = named["run"]["settings"] = {"dataset": "/data/candidates", "contract": "candidates.toml"}
    if version == 1:
        del old["evidence"], old["unjudged"]
        named |= {"evidence": [], "unjudged": []}
    assert read(old) == named


@pytest.mark.parametrize(("verb", "version"), [("judge", 4), ("accept", 4), ("summary", 4), ("attest", 4)])
def test_another_version_is_refused_with_what_to_do(tmp_path, document, capsys, verb, version):
    """A later one, by every verb."""
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document | {"schema_version": version}), encoding="utf-8")
    assert main([verb, str(path)]) == 3, f"{verb} took a results.json of version {version}"
    printed = capsys.readouterr().err
    assert f"has the schema version {version}, this release reads 3" in printed
    assert "use the release that wrote it" in printed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ("[1]", "schema version None"),
        ('{"schema_version": true}', "schema version True"),
        ('{"schema_version": 3}', "Object missing required field `run`"),
    ],
    ids=["empty", "list", "bool", "missing"],
)
def test_a_file_of_something_else_is_one_clear_error(read, text, words):
    """No traceback. What is no JSON within bounds: tests/unit/test_records.py and tests/unit/hostile/test_files.py."""
    with pytest.raises(UsageError) as refused:
        read(text)
    assert words in str(refused.value)


def test_a_stored_verdict_is_the_one_that_was_decided(document):
    """With its interval and its limit."""
    entry = document["verdicts"][0]
    assert json.loads(json.dumps(stored_verdict(entry).as_dict() | {"test": entry["test"]})) == entry


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdicts", 0, "stand_in"), True),
        (("environment", "device", "stand_in"), True),
        (("artifacts", 0, "provenance", "cann"), "8.0.0-STAND-IN.aa"),
    ],
    ids=["verdict", "device", "cann"],
)
def test_any_part_of_the_emulator_makes_a_run_stand_in(document, path, value):
    """Whatever a file says of it elsewhere."""
    assert not has_stand_in(document)
    assert has_stand_in(changed(document, path, value))


def test_text_from_a_file_cannot_steer_a_terminal():
    """Escape sequences become signs, lines stay lines, and nothing is endless."""
    assert printable("a\x1b[31mb\nc\u2028") == "a\ufffd[31mb\nc\ufffd"
    assert printable("x" * 50, 10) == "x" * 10 + "... (40 more characters)"


def test_the_command_to_run_again_can_be_pasted(document):
    """A test's id or an option from a file is never more than an argument."""
    document["run"]["options"] = "--dataset '/data/my coco' ; reboot"
    assert again(document, 't.py::x"; reboot #') == (
        """pytest 't.py::x"; reboot #' --dataset '/data/my coco' ';' reboot"""
    )
    document["run"]["options"] = "'"
    assert again(document, "t.py::x[batch8]") == "pytest 't.py::x[batch8]'"
