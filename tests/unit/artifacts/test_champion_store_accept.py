"""`python -m fcos_lib accept` makes an OM champion on the word of a run, and believes nothing that it can check."""

import copy
import json

import pytest

from fcos_lib.artifacts.champions import Place, champion_of
from fcos_lib.cli.main import main
from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.evidence.results import write_results
from fcos_lib.files import sha256_of
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement
from fcos_lib.measure.cost.operators import om_cost
from fcos_lib.store.artifacts import content_key


def place(batch=8, *, stand_in=False):
    """The place of the OMs below."""
    batches = batch if isinstance(batch, tuple) else (batch,)
    return Place("shapes", "Ascend310P3", batches, InputLayout.FLOAT_NCHW, stand_in=stand_in)


def verdict(promise, subject, value=1.0, bound=1.0, n=5, stand_in=False, details=None):
    """A stored verdict; without a bound the value is only recorded."""
    limit = None if bound is None else Limit(f"{promise}.test", bound, True, "AP", "a test")
    measured = Measurement("value", value, "AP", n, details=details or {})
    return decide(promise, subject, measured, limit, stand_in=stand_in).as_dict()


class Results:
    """A results.json, changed step by step and written on demand."""

    def __init__(self, root):
        self.root = root
        self.artifacts, self.verdicts, self.unjudged = [], [verdict("contract", "reference")], []
        self.device = {"stand_in": False, "soc_version": "Ascend310P3"}
        self.change = lambda document: None

    def om(self, batch, **provenance):
        """Put an OM into the store and let the usual gates pass on it."""
        batches = batch if isinstance(batch, tuple) else (batch,)
        facts = {
            "contract": json.loads(json.dumps(SHAPES.as_dict())),
            "onnx": "ab" * 32,
            "soc_version": "Ascend310P3",
            "batch": 0 if isinstance(batch, tuple) else batch,
            "dynamic_batches": list(batches) if isinstance(batch, tuple) else [],
            "precision_mode": "force_fp16",
            "input_layout": "float32 NCHW",
            "cann": "8.0.0",
        } | provenance
        key = content_key("om", facts)
        path = self.root / "om" / key / "model.om"
        path.parent.mkdir(parents=True)
        path.write_text(f"om {key}")
        files = {"model.om": sha256_of(path), "atc.log": "cd" * 32}
        self.artifacts.append({"kind": "om", "key": key, "built": True, "files": files, "provenance": facts})
        for size in batches:
            subject = f"batch{size}" + "-dynamic" * isinstance(batch, tuple)
            self.verdicts += [verdict(promise, subject) for promise in ("contract", "consistency", "accuracy")]
            self.verdicts.append(verdict("throughput", subject, bound=None))
        return path

    def accept(self, *options):
        """Write the file and run the verb on it; its exit status."""
        path = self.root / "results" / "results.json"
        write_results(
            path, environment={"device": self.device}, artifacts=self.artifacts, verdicts=self.verdicts,
            unjudged=self.unjudged, run={"started_at": "2026-11-23T09:33:36Z"},
        )  # fmt: skip
        document = json.loads(path.read_text())
        self.change(document)
        path.write_text(json.dumps(document))
        return main(["accept", str(path), "--artifacts", str(self.root), *options])


@pytest.fixture
def results(tmp_path):
    """Results without an OM yet."""
    return Results(tmp_path)


def test_a_green_om_becomes_champion(results, tmp_path, capsys):
    """With who and why; what was only recorded without a limit speaks against nothing."""
    om = results.om(8)
    assert results.accept("--who", "me@here", "--why", "first release") == 0
    champion = champion_of(tmp_path, place())
    assert champion.om.read_bytes() == om.read_bytes()
    assert (champion.who, champion.why) == ("me@here", "first release")
    assert champion.facts["provenance"]["cann"] == "8.0.0"
    promises = {entry["promise"] for entry in champion.facts["verdicts"]}
    assert promises == {"contract", "consistency", "accuracy", "throughput"}
    out = capsys.readouterr().out
    assert "champion  shapes-Ascend310P3-batch8, number 1\n" in out
    assert "replaces  nobody" in out
    assert results.accept() == 0
    assert "replaces  number 1 of " in (out := capsys.readouterr().out)
    assert "by me@here (the same OM)" in out


def test_who_is_the_user_at_this_host(results, tmp_path):
    """Unless somebody else is named."""
    results.om(8)
    results.accept()
    user, _, host = champion_of(tmp_path, place()).who.partition("@")
    assert user
    assert host


def test_the_cost_of_the_run_is_kept(results, tmp_path):
    """The next challenger is compared with it."""
    om = results.om(8)
    cost = om_cost(om, tmp_path / "none.onnx", SHAPES, InputLayout.FLOAT_NCHW, {"cann": "8.0.0"})
    results.verdicts.append(verdict("cost", "batch8", details={"cost": cost.as_dict()}))
    assert results.accept() == 0
    assert champion_of(tmp_path, place()).facts["cost"] == cost.as_dict()


INFRA = {"phase": "setup", "outcome": "INFRA", "message": "no device"}


def without_accuracy(results):
    """Nobody ran the gates of accuracy."""
    results.verdicts = [entry for entry in results.verdicts if entry["promise"] != "accuracy"]


LACKING = decide("accuracy", "batch8", Measurement("value", 1.0, "AP", 5), None, stand_in=False, lacks="accuracy.x").as_dict()  # fmt: skip
AGAINST = {
    "fail": (verdict("accuracy", "batch8", 0.5), "accuracy[batch8] value is FAIL"),
    "no-verdict": (verdict("accuracy", "batch8", n=0), "accuracy[batch8] value is NO VERDICT"),
    "no-limit-is-set": (LACKING, "accuracy[batch8] value is NO VERDICT"),
    "nothing-recorded": (verdict("throughput", "batch8", bound=None, n=0), "throughput[batch8] value is NO VERDICT"),
    "reference": (verdict("accuracy", "reference", 0.5), "accuracy[reference] value is FAIL"),
    "broken": (INFRA | {"test": "tests/acceptance/test_x.py::test_y[batch8]"}, "test_y[batch8] is INFRA"),
    "broken-for-all": (INFRA | {"test": "tests/acceptance/test_x.py::test_z"}, "test_z is INFRA"),
    "not-run": (without_accuracy, "no gate of accuracy judged batch8"),
    "for-tests": (lambda results: results.om(16, proposals=True), "for tests only"),
    "foreign-cost": (verdict("cost", "batch8", details={"cost": {"figures": {"OM size": {"value": -1}}}}), "OM size is -1"),
}  # fmt: skip
"""What speaks against an OM: a verdict, a gate that broke, or a change of the run; and the reason."""


@pytest.mark.parametrize("case", AGAINST)
def test_what_speaks_against_an_om_keeps_it_out(results, tmp_path, capsys, case):
    """The reference's gates too: what agrees with a broken reference is no better. Silence is no success."""
    results.om(8)
    against, reason = AGAINST[case]
    if callable(against):
        against(results)
    else:
        (results.unjudged if "phase" in against else results.verdicts).append(against)
    assert results.accept() == 3
    assert reason in capsys.readouterr().err
    assert champion_of(tmp_path, place()) is None


def test_despite_is_kept_with_what_it_overrode(results, tmp_path, capsys):
    """Somebody decided, and their name and reason stay."""
    results.om(8)
    results.verdicts.append(verdict("accuracy", "batch8", 0.5))
    assert results.accept("--despite", "known, accepted by the team") == 0
    facts = champion_of(tmp_path, place()).facts
    assert facts["despite"] == "known, accepted by the team"
    assert facts["spoke_against"] == ["accuracy[batch8] value is FAIL"]
    assert "despite   accuracy[batch8] value is FAIL" in capsys.readouterr().out


def test_one_bad_om_of_several_stops_all_unless_left_out(results, tmp_path, capsys):
    """A gate on batch 1 says nothing about batch 16, whatever digits they share."""
    results.om(1)
    results.om(16)
    results.verdicts.append(verdict("accuracy", "batch1", 0.5))
    results.unjudged.append({"test": "test_x[batch1]", "phase": "call", "outcome": "FAIL", "message": ""})
    assert results.accept() == 3
    assert champion_of(tmp_path, place(16)) is None
    assert results.accept("--batch", "16") == 0
    assert champion_of(tmp_path, place(16)) is not None
    assert champion_of(tmp_path, place(1)) is None
    assert results.accept("--batch", "4") == 3
    assert "lists no OM for batch size 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gate", "status"),
    [
        ({"state": "not selected"}, 3),
        ({"state": "missing"}, 3),
        ({"state": "blocked"}, 0),
        ({"state": "judged"}, 0),
        ({"state": "does not apply"}, 0),
        ({"state": "not selected", "recorded": True}, 0),
        ({"state": "not selected", "subject": "batch64"}, 0),
        ({"state": "not selected", "promise": "throughput"}, 0),
    ],
)
def test_a_gate_that_was_left_out_speaks_against_an_om(results, capsys, gate, status):
    """One green gate of each promise is not all of them: a red one may have been deselected."""
    results.om(8)
    entry = {"key": "consistency.x", "promise": "consistency", "subject": "batch8", "why": "by -k", **gate}
    results.change = lambda document: document["gates"].append(entry)
    assert results.accept() == status
    said = f"consistency.x[batch8] was not judged: {gate['state']}, by -k"
    assert (said in capsys.readouterr().err) == (status == 3)


def test_an_om_with_profiles_needs_every_profile_judged(results, tmp_path, capsys):
    """One OM serves them all."""
    results.om((1, 4))
    assert results.accept() == 0
    assert champion_of(tmp_path, place((1, 4))).facts["provenance"]["dynamic_batches"] == [1, 4]
    results.verdicts = [entry for entry in results.verdicts if entry["subject"] != "batch4-dynamic"]
    assert results.accept() == 3
    assert "no gate of contract, consistency, accuracy judged batch4" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["cann", "device", "verdict"])
def test_the_emulators_oms_never_become_champions_for_hardware(results, tmp_path, capsys, part):
    """Whatever part the emulator had: compiler, device or a single gate."""
    results.om(8, **({"cann": "8.0.0-STAND-IN.1f2e3d4c"} if part == "cann" else {}))
    if part == "device":
        results.device["stand_in"] = True
    if part == "verdict":
        results.verdicts.append(verdict("accuracy", "batch8", stand_in=True))
    assert results.accept() == 0
    assert champion_of(tmp_path, place()) is None
    assert champion_of(tmp_path, place(stand_in=True)) is not None
    assert "STAND-IN  the emulator had a part in it" in capsys.readouterr().out


def test_an_om_from_elsewhere_is_named_by_hand(results, tmp_path, capsys):
    """No path of a results.json is followed; the file that is named must be the one that was tested."""
    om = tmp_path / "elsewhere.om"
    om.write_text("their om")
    sha256 = sha256_of(om)
    results.om(8)
    (own,) = results.artifacts
    own["key"], own["files"] = sha256[:20], {"elsewhere.om": sha256}
    own["provenance"] = {
        "path": str(om), "soc_version": "Ascend310P3", "batches": [8], "cann_version": "7.0.0", "onnx_sha256": "",
        "input_layout": "float32 NCHW", "precision_mode": "force_fp16",
    }  # fmt: skip
    results.artifacts.append({"kind": "onnx", "key": "k", "files": {}, "provenance": {"contract": {"name": "shapes"}}})
    assert results.accept() == 3
    assert "was not built here" in capsys.readouterr().err
    other = tmp_path / "other.om"
    other.write_text("another om")
    assert results.accept("--om", str(other)) == 3
    assert "the run tested" in capsys.readouterr().err
    assert results.accept("--om", str(om)) == 0
    assert champion_of(tmp_path, place()).om.read_text() == "their om"


def test_a_changed_or_missing_om_is_refused(results, tmp_path, capsys):
    """The file must be what was tested."""
    om = results.om(8)
    om.write_text("tampered")
    assert results.accept() == 3
    assert "the run tested" in capsys.readouterr().err
    om.unlink()
    assert results.accept() == 3
    assert "there is no OM at" in capsys.readouterr().err


def test_a_damaged_champion_can_be_replaced_and_is_named(results, tmp_path, capsys):
    """Otherwise nobody could ever be accepted again."""
    results.om(8)
    results.accept()
    champion_of(tmp_path, place()).om.unlink()
    capsys.readouterr()
    assert results.accept() == 0
    assert "0001 is damaged" in capsys.readouterr().out
    assert champion_of(tmp_path, place()).number == 2


def swap(*path, to):
    """A change of one place in the document."""

    def change(document):
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = copy.deepcopy(to)

    return change


OM = ("artifacts", 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (swap("artifacts", to=[]), "lists no OM"),
        (swap(*OM, "key", to="../../../etc"), "is not a results.json"),
        (swap(*OM, "key", to="ab" * 10), "does not follow from the provenance"),
        (swap(*OM, "files", to={"../../x.om": "ab" * 32}), "is not a results.json"),
        (swap(*OM, "files", to={"a.om": "ab" * 32, "b.om": "ab" * 32}), "has 2 OMs"),
        (swap(*OM, "files", to={"model.om": "ab"}), "is not a results.json"),
        (swap(*OM, "files", "weight/x", to="ab" * 32), "keeps its weights in files of their own"),
        (swap(*OM, "provenance", to=[]), "is not a results.json"),
        (swap(*OM, "provenance", "soc_version", to="../x"), "does not follow from the provenance"),
        (swap(*OM, "provenance", "batch", to="8"), "is not a results.json"),
        (swap("verdicts", 1, "outcome", to="GREAT"), "is not a results.json"),
        (swap("verdicts", 1, "subject", to=8), "is not a results.json"),
    ],
    ids=[
        "no-om", "path-in-key", "other-key", "path-in-file", "two-oms", "short-hash", "weights", "no-provenance", "path-in-chip",
        "batch-as-text", "unknown-outcome", "subject-as-number",
    ],
)  # fmt: skip
def test_a_hostile_results_file_is_one_clear_error(results, tmp_path, capsys, change, words):
    """Exit 3, no traceback, nothing accepted. What else no run has: tests/unit/evidence/test_results_read.py."""
    results.om(8)
    results.change = change
    assert results.accept("--despite", "whatever") == 3
    assert words in capsys.readouterr().err
    assert not (tmp_path / "champions").exists()
