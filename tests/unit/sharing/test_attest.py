"""Statements: what `attest` says about a run, what it never says, and what `verify` finds in one that was changed."""

import base64
import getpass
import json
import re
import socket
from pathlib import Path

import pytest

from fcos_lib.cli.main import main
from fcos_lib.evidence.results import read_results
from fcos_lib.sharing.digests import picture_list_digest
from fcos_lib.sharing.statement import PREDICATE_TYPE, STATEMENT_TYPE
from fixtures.gateproof import keep_record
from tests.prepared import PICTURES
from tests.unit.sharing.conftest import PRIVATE


def attest(run, *options):
    """Write the statement, and read it as JSON."""
    output = run.with_name("attestation.json")
    assert main(["attest", str(run), *map(str, options)]) == 0
    return output, json.loads(output.read_text(encoding="utf-8"))


def changed(path, change):
    """The statement after `change` was done to it, beside it."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    tampered = path.with_name("tampered.json")
    tampered.write_text(json.dumps(document), encoding="utf-8")
    return tampered


def differing(capsys):
    """The lines that say what differs."""
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("differs: ")]


def test_a_statement_is_in_totos(stored):
    """The types and fields of the test-result predicate, with what was tested by its content."""
    _, statement = attest(stored())
    assert (statement["_type"], statement["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE)
    subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    run = read_results(stored())
    kept, pictures = run["detections"][0], picture_list_digest(run["pictures"])
    assert subjects == {
        "onnx ascend.onnx": "1" * 64, "onnx portable.onnx": "2" * 64, "checkpoint": "3" * 64,
        f"om batch 4 {'b' * 12} model.om": "4" * 64, "annotations": "6" * 64, "pictures": pictures,
    }  # fmt: skip
    predicate = statement["predicate"]
    assert predicate["result"] == "WARNED", "STAND-IN is no PASS"
    assert predicate["warnedTests"] == ["accuracy.not_counted_once[batch4]", "paired.loss[batch4]"]
    assert predicate["passedTests"] == predicate["failedTests"] == []
    assert [each["name"] for each in predicate["configuration"]] == ["sources", "requirements.lock"]
    ours = predicate["fcos_lib"]
    assert (ours["word"], ours["stand_in"], ours["gateproof"]) == ("STAND-IN", True, "none")
    versions = {"cann_version": "8.0-STAND-IN", "driver_version": "24.1", "firmware_version": "7.5"}
    assert ours["device"].items() >= versions.items(), f"the device of the statement is {ours['device']}"
    assert ours["detections"] == [{"subject": "batch4", "pictures": pictures, "count": 5, "root": kept["root"]}]
    gate = ours["gates"][1]
    assert (gate["key"], gate["value"], gate["verdict"]) == ("paired.loss", -0.001, "STAND-IN")
    assert gate["limit"]["name"] == "paired.shapes.loss"


def red(document):
    """The run after its second gate failed."""
    entry = document["verdicts"][1]
    entry["measurement"]["value"], entry["outcome"] = -0.5, "FAIL"
    document["run"]["exit_status"] = 1


def test_a_red_run_is_attested_as_one(stored, capsys):
    """It is true that it failed; the status of verify is the run's."""
    path, statement = attest(stored(red))
    assert statement["predicate"]["result"] == "FAILED"
    assert statement["predicate"]["failedTests"] == ["paired.loss[batch4]"]
    assert main(["verify", str(path)]) == 1
    assert not differing(capsys)


def texts(value):
    """Every text in JSON but the names of fields."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def test_nothing_private_travels(stored):
    """Neither folders, users and hosts nor words that a gate said, however many places of a run have them."""
    run = stored()
    for path in (attest(run)[0], run.with_name("picture-7.proof.json")):
        if not path.exists():
            assert main(["attest", str(run), "--picture", "7"]) == 0
        said = path.read_text(encoding="utf-8")
        for word in (PRIVATE, "quentin", "build17", "secret", str(run.parent)):
            assert word not in said, f"{word} is in {path.name}"


def test_a_real_run_says_nothing_of_its_machine(prepared, tmp_path, capsys):
    """Of the suite on this machine: attested, verified beside its run and files, and searched."""
    run, output = prepared / "results" / "results.json", tmp_path / "attestation.json"
    assert main(["attest", str(run), "--output", str(output)]) == 0
    document = json.loads(output.read_text(encoding="utf-8"))
    said = texts(document)
    for word in (str(Path.home()), socket.gethostname(), str(prepared), str(Path.cwd())):
        assert not [text for text in said if word in text], f"the statement says {word}"
    assert not [text for text in said if text.startswith("/") or " /" in text], "an absolute path travels"
    user = re.compile(rf"\b{re.escape(getpass.getuser())}\b")
    assert not [text for text in said if user.search(text)], "the user's name travels"
    capsys.readouterr()
    assert main(["verify", str(output), "--run", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "same: everything that the statement says of the run" in lines
    for name in ("checkpoint", "annotations", "onnx portable.onnx"):
        assert f"same: file of {name}" in lines
    assert f"same: files of {PICTURES} pictures" in lines
    assert not [line for line in lines if line.startswith("differs")]
    assert [line for line in lines if line.startswith("not checked")] == [
        "not checked: signature: the statement is not signed"
    ]
    (tree,) = document["predicate"]["fcos_lib"]["detections"]
    assert tree["count"] == PICTURES, f"{tree['count']} detections of {PICTURES} pictures"


@pytest.mark.parametrize("place", ["name", "driver_version", "firmware_version", "soc_version"])
@pytest.mark.parametrize("text", [PRIVATE, "x ~/y", "quentin@build17", "C:\\x", "at (/x)"])
def test_a_path_where_none_belongs_is_refused(stored, capsys, place, text):
    """Whoever attests somebody else's file passes on nothing that it hid in a device's name."""
    run = stored(lambda document: document["environment"]["device"].update({place: text}))
    assert main(["attest", str(run)]) == 3
    assert "must not travel" in capsys.readouterr().err
    assert not run.with_name("attestation.json").exists()


def gate(document):
    """The second gate of a statement."""
    return document["predicate"]["fcos_lib"]["gates"][1]


TAMPERED = {
    "value": (lambda document: gate(document).update(value=-0.0011), "paired.loss[batch4] loss.value: -0.0011 in the statement, -0.001 here"),
    "limit": (lambda document: gate(document)["limit"].update(bound=-0.9), "paired.loss[batch4] loss.limit.bound: -0.9 in the statement"),
    "picture": (lambda document: document["predicate"]["fcos_lib"]["detections"][0].update(root="0" * 64), "fcos_lib.detections batch4.root: 0000"),
    "picture list": (lambda document: document["subject"][-1]["digest"].update(sha256="0" * 64), "pictures.digest.sha256: 0000"),
    "source": (lambda document: document["predicate"]["configuration"][0]["digest"].update(sha256="0" * 64), "configuration sources.digest.sha256: 0000"),
    "model": (lambda document: document["subject"][3]["digest"].update(sha256="0" * 64), "model.om.digest.sha256: 0000"),
    "device": (lambda document: document["predicate"]["fcos_lib"]["device"].update(cann_version="8.0"), "device.cann_version: 8.0 in the"),
    "a gate less": (lambda document: document["predicate"]["fcos_lib"]["gates"].pop(2), "accuracy.recorded[batch4]"),
    "a gate more": (lambda document: document["predicate"]["fcos_lib"]["gates"].append(gate(document)), "again"),
    "gate proof": (lambda document: document["predicate"]["fcos_lib"].update(gateproof={"digest": "0" * 64, "caught": 1, "defects": 1, "green": 1, "controls": 1}), None),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_statement_is_refused_and_what_differs_named(stored, capsys, what):
    """Beside the run; the same file unchanged is true."""
    run = stored()
    path, _ = attest(run)
    assert main(["verify", str(path), "--run", str(run)]) == 0
    change, words = TAMPERED[what]
    capsys.readouterr()
    status = main(["verify", str(changed(path, change)), "--run", str(run)])
    lines = capsys.readouterr().out.splitlines()
    if words is None:  # its record is not here: said, and not called false
        assert status == 0
        assert "not checked: gate proof: no record of it lies beside the run" in lines
        return
    assert status == 1
    assert [line for line in lines if line.startswith("differs: ") and words in line], "\n".join(lines)


CONTRADICTIONS = {
    "a verdict": (lambda document: gate(document).update(value=-0.5), "which comes to FAIL"),
    "a word": (lambda document: document["predicate"]["fcos_lib"].update(word="PASS"), "word: PASS"),
    "the result": (lambda document: document["predicate"].update(result="PASSED"), "result: PASSED"),
    "a list": (lambda document: document["predicate"].update(passedTests=["paired.loss[batch4]"]), "passedTests"),
    "stand-in": (lambda document: document["predicate"]["fcos_lib"].update(stand_in=False), "stand_in: False"),
    "limits.toml": (lambda document: gate(document)["limit"].update(bound=-0.9), "limit paired.shapes.loss: (-0.9"),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_a_statement_that_contradicts_itself_needs_no_run(stored, capsys, what):
    """Verdicts follow from numbers, lists from verdicts, and limits from the sources it names."""
    path, _ = attest(stored())
    change, words = CONTRADICTIONS[what]
    capsys.readouterr()
    assert main(["verify", str(changed(path, change))]) == 1
    assert [line for line in differing(capsys) if words in line]


def test_what_cannot_be_checked_is_said(stored, capsys):
    """Without the run; of other sources, neither those nor the limits are called wrong."""
    path, _ = attest(stored(lambda document: document["environment"].update(sources="7" * 64, lock=None)))
    capsys.readouterr()
    assert main(["verify", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "not checked: sources: this is another checkout than the one that ran",
        "not checked: requirements.lock: the run did not note it",
        "not checked: limits: they are those of another checkout",
        "not checked: the run, its files and pictures: pass --run",
    ):
        assert line in lines


@pytest.mark.parametrize("what", ["found", "file", "no file"])
def test_a_changed_run_is_not_attested(stored, capsys, what):
    """Of one picture what was found, or its file: the root does not follow any more, and no statement is made of it, nor believed."""

    def spoil(document):
        if what == "no file":
            del document["pictures"]["7"]
        else:
            digests = document["detections"][0]["found"] if what == "found" else document["pictures"]
            digests["7"] = "0" * 64

    path, _ = attest(stored())
    run = stored(spoil, "spoilt.json")
    assert main(["attest", str(run), "--output", str(path.with_name("x.json"))]) == 3
    assert "do not give their root" in capsys.readouterr().err
    assert not path.with_name("x.json").exists()
    assert main(["verify", str(path), "--run", str(run)]) == 1
    assert any("digests do not give its root" in line for line in differing(capsys))


def test_one_picture_is_proved(stored, capsys):
    """Its proof belongs to the statement; one whose leaf or path was changed does not, nor one of another run."""
    run = stored()
    path, _ = attest(run)
    assert main(["attest", str(run), "--picture", "7"]) == 0
    proof = run.with_name("picture-7.proof.json")
    assert main(["verify", str(path), "--proof", str(proof)]) == 0
    assert "same: picture 7 of batch4" in capsys.readouterr().out
    document = json.loads(proof.read_text(encoding="utf-8"))
    for change in (
        {"found": "0" * 64}, {"file": "0" * 64}, {"index": 4}, {"path": document["proofs"][0]["path"][:-1]}, {"subject": "batch8"},
    ):  # fmt: skip
        spoilt = {**document, "proofs": [{**document["proofs"][0], **change}]}
        proof.write_text(json.dumps(spoilt), encoding="utf-8")
        assert main(["verify", str(path), "--proof", str(proof)]) == 1, change
        assert [line for line in differing(capsys) if "picture 7" in line], change
    proof.write_text(json.dumps({**document, "picture": 9}), encoding="utf-8")
    assert main(["verify", str(path), "--proof", str(proof)]) == 1, "one picture passes for another"
    assert [line for line in differing(capsys) if "picture 9" in line]


def test_a_picture_that_nobody_saw_has_no_proof(stored, capsys):
    """And a key, which would sign nothing, is refused with it."""
    assert main(["attest", str(stored()), "--picture", "8"]) == 3
    assert "no digest of what was found in picture 8" in capsys.readouterr().err
    assert main(["attest", str(stored()), "--picture", "7", "--key", "x"]) == 3


def test_a_signed_statement_is_of_its_key(stored, keys, capsys):
    """By its own key true; by another one, changed, or unsigned not."""
    run = stored()
    for name, other in (("mine", "other"), ("other", "mine")):
        path, envelope = attest(run, "--key", keys / name)
        assert envelope["payloadType"] == "application/vnd.in-toto+json"
        assert json.loads(base64.b64decode(envelope["payload"]))["_type"] == STATEMENT_TYPE
        capsys.readouterr()
        assert main(["verify", str(path), "--run", str(run), "--public-key", str(keys / f"{name}.pub")]) == 0
        assert "same: signature" in capsys.readouterr().out
        assert main(["verify", str(path), "--public-key", str(keys / f"{other}.pub")]) == 1
        assert differing(capsys) == ["differs: signature: none is of the key that was given"]

        def flip(document):
            payload = base64.b64decode(document["payload"]).replace(b'"n": 240', b'"n": 250')
            document["payload"] = base64.b64encode(payload).decode()

        assert main(["verify", str(changed(path, flip)), "--public-key", str(keys / f"{name}.pub")]) == 1
        assert differing(capsys) == ["differs: signature: none is of the key that was given"]
    unsigned, _ = attest(run)
    assert main(["verify", str(unsigned), "--public-key", str(keys / "mine.pub")]) == 1
    assert differing(capsys) == ["differs: signature: the statement is not signed"]


@pytest.mark.parametrize("key", ["encrypted", "none", "huge", "missing", "mine.pub", "."])
def test_a_key_that_cannot_be_used_leaves_no_file(stored, keys, capsys, key):
    """One error of two sentences, and nothing half-signed, nor the statement without its signature."""
    run = stored()
    before = sorted(run.parent.iterdir())
    assert main(["attest", str(run), "--key", str(keys / key)]) == 3
    error = capsys.readouterr().err
    assert "cannot be used" in error
    assert ("encrypted" in error.replace(str(keys / key), "").partition("\n")[0]) == (key == "encrypted")
    assert sorted(run.parent.iterdir()) == before


@pytest.mark.parametrize("key", ["mine", "none", "missing"])
def test_a_public_key_that_is_none_is_an_error(stored, keys, capsys, key):
    """Not a statement that is false."""
    path, _ = attest(stored(), "--key", keys / "mine")
    assert main(["verify", str(path), "--public-key", str(keys / key)]) == 3
    assert "cannot be used" in capsys.readouterr().err


def test_an_npu_may_be_required_of_a_statement(stored):
    """As of a run."""
    path, _ = attest(stored())
    assert main(["verify", str(path), "--npu", "required"]) == 7
    assert main(["verify", str(path), "--require", "accuracy"]) == 0


def test_options_for_statements_are_refused_for_runs(stored, capsys):
    """They would have no effect."""
    run = str(stored())
    for option in ("--run", "--public-key", "--proof"):
        assert main(["verify", run, option, run]) == 3
        assert f"{option} is for statements" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(_type="https://in-toto.io/Statement/v2"),
        lambda document: document.update(predicateType="https://in-toto.io/attestation/link/v0.3"),
        lambda document: document["predicate"]["fcos_lib"].update(format=2),
        lambda document: document["predicate"]["fcos_lib"].update(exit_status=256),
        lambda document: document["predicate"]["fcos_lib"].update(extra=1),
        lambda document: gate(document).update(verdict="GREEN"),
        lambda document: document["subject"].clear(),
        lambda document: document["subject"][0].update(digest={"sha256": "Z" * 64}),
        lambda document: gate(document).update(name="a\nb"),
    ],
    ids=["type", "predicate", "format", "status", "extra", "verdict", "nothing", "digest", "line"],
)
def test_what_is_no_statement_of_ours_is_refused(stored, capsys, change):
    """With its place."""
    path, _ = attest(stored())
    assert main(["verify", str(changed(path, change))]) == 3
    assert "is not a statement" in capsys.readouterr().err


def test_a_statement_may_say_more_than_we_know(stored):
    """in-toto's objects may have further fields, which are passed over."""
    path, _ = attest(stored())
    assert (
        main(["verify", str(changed(path, lambda document: document["predicate"].update(url="https://github.com/x")))])
        == 0
    )


def test_the_gate_proof_of_these_sources_is_attested(stored, monkeypatch):
    """Its score and digest; one of other sources is none, and a run of fewer cases does not replace it."""
    run = stored()
    cases = [{"name": str(n), "control": n > 2, "verdict": "green" if n > 2 else "caught"} for n in range(5)]
    keep_record(run, [*cases, {"name": "missed", "control": False, "verdict": "not caught"}])
    keep_record(run, cases[:2])
    path, statement = attest(run)
    score = statement["predicate"]["fcos_lib"]["gateproof"]
    assert {name: score[name] for name in ("caught", "defects", "green", "controls")} == {
        "caught": 3, "defects": 4, "green": 2, "controls": 2,
    }  # fmt: skip
    assert main(["verify", str(path), "--run", str(run)]) == 0
    other = stored(lambda document: document["environment"].update(sources="7" * 64), "other.json")
    assert attest(other)[1]["predicate"]["fcos_lib"]["gateproof"] == "none"


def test_a_run_of_an_older_version_belongs_to_the_release_that_wrote_it(stored, capsys):
    """Its gates had other names, which a statement repeats: neither attested nor verified here, and not said to be changed."""
    path, _ = attest(stored())
    run = stored(lambda document: document.update(schema_version=2), "older.json")
    for command in (["attest", str(run)], ["verify", str(path), "--run", str(run)]):
        assert main(command) == 3, command
        assert "has the schema version 2, this release reads 3" in capsys.readouterr().err


def test_a_run_of_an_earlier_release_is_attested_without_what_it_lacks(stored):
    """Neither sources nor detections: said by their absence."""

    def older(document):
        del document["environment"]["sources"], document["environment"]["lock"]
        del document["detections"], document["pictures"]

    _, statement = attest(stored(older))
    assert statement["predicate"]["configuration"] == []
    assert statement["predicate"]["fcos_lib"]["detections"] == []


def test_a_run_without_a_gate_is_nothing_to_attest(stored, capsys):
    """And no file is written over the run itself."""
    empty = stored(lambda document: document.update(verdicts=[]))
    assert main(["attest", str(empty)]) == 3
    run = stored()
    assert main(["attest", str(run), "--output", str(run)]) == 3
    assert main(["attest", str(run), "--output", str(run.parent / "nowhere" / "x.json")]) == 3
    assert "cannot be written" in capsys.readouterr().err
