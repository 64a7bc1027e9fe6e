"""The verb `explain` goes from a stored run back to its OM, and refuses what is no run, in one line."""

import json
import shlex

import onnx
import pytest

from fcos_lib.artifacts import ASCEND
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.artifacts.from_onnx import foreign_onnx_artifact
from fcos_lib.cli import explain as command
from fcos_lib.cli.main import main
from fcos_lib.contract import SHAPES
from fcos_lib.errors import UsageError
from fcos_lib.evidence.explained import explained
from fcos_lib.evidence.results import write_results
from fcos_lib.judge.gates import gate_called
from fcos_lib.judge.limits import Limit, find_limit
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import open_dataset
from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT

OTHER = {"kind": "scatter", "subject": "batch2", "data": {"points": [], "total": 0}}
STALE = {"kind": "ladder", "subject": "batch2", "data": {"sentence": "an earlier explanation"}}


@pytest.fixture
def results(tmp_path, exported):
    """The results of a run whose accuracy failed at batch size 2, on the emulator; its settings can be changed."""

    def write(models=None, settings=None, **parts):
        models = models or onnx_artifact(Store(exported), SHAPES, EMBEDDED_CHECKPOINT)
        measured = Measurement("mAP difference", -0.042, "AP", 240, interval=(-0.05, -0.03))
        verdicts = [
            decide("accuracy", f"batch{batch}", measured, limit, stand_in=True).as_dict()
            for batch, limit in ((1, None), (2, find_limit("paired", "shapes", "loss")))
        ]
        given = {
            "dataset": str(EMBEDDED), "annotations_sha256": open_dataset(EMBEDDED).annotations_sha256,
            "checkpoint": str(EMBEDDED_CHECKPOINT), "artifacts": str(exported), "pictures": None,
        } | (settings or {})  # fmt: skip
        path = tmp_path / "results.json"
        content = {
            "environment": {"device": {"stand_in": True, "soc_version": "Ascend310P3"}},
            "artifacts": [
                {"kind": "onnx", "key": models.key, "files": dict(models.files), "provenance": {}, "built": False}
            ],
            "verdicts": verdicts,
            "unjudged": [],
            "run": {"settings": given},
            "evidence": [OTHER, STALE],
        }
        write_results(path, **content | parts)
        return path

    return write


def explain(path, *options):
    """Run the verb on the emulator, in eight pictures."""
    return main(["explain", str(path), "--npu", "emulated", "--pictures", "8", *options])


def test_the_explanation_is_printed_and_kept(results, capsys):
    """Of the batch size that failed; other evidence stays, an earlier explanation goes, and it says STAND-IN."""
    path = results()
    assert explain(path) == 0
    out = capsys.readouterr().out
    assert out.startswith("batch2, STAND-IN")
    assert "over 8 pictures, of " in out
    assert "-0.0420   by the gate" in out
    kept = json.loads(path.read_text(encoding="utf-8"))["evidence"]
    assert kept[0] == OTHER
    assert [(record["kind"], record["subject"]) for record in kept[1:3]] == [
        ("ladder", "batch2"),
        ("error_types", "batch2"),
    ]
    assert "earlier" not in json.dumps(kept)


def test_a_broken_onnx_from_elsewhere_is_explained_with_its_layers(results, exported, tmp_path, capsys):
    """With --layers the layers are compared although the network is the same; a batch size can be chosen."""
    ours = onnx_artifact(Store(exported), SHAPES, EMBEDDED_CHECKPOINT)
    model = onnx.load(ours.path / ASCEND)
    nodes = model.graph.node
    position = next(index for index, node in enumerate(nodes) if node.op_type == "BatchMultiClassNMS")
    nodes[position].output[1], real = "half", nodes[position].output[1]
    model.graph.initializer.append(onnx.helper.make_tensor("by", onnx.TensorProto.FLOAT16, [1], [0.5]))
    nodes.insert(position + 1, onnx.helper.make_node("Mul", ["half", "by"], [real], name="halved"))
    onnx.save(model, tmp_path / "elsewhere.onnx")
    foreign = foreign_onnx_artifact(Store(exported), SHAPES, tmp_path / "elsewhere.onnx")
    path = results(foreign, {"onnx": str(tmp_path / "elsewhere.onnx"), "checkpoint": None})
    assert explain(path, "--layers", "--batch", "1") == 0
    out = capsys.readouterr().out
    assert out.startswith("batch1, STAND-IN")
    assert "no layer of 119 differs" in out
    ladder = json.loads(path.read_text(encoding="utf-8"))["evidence"][2]["data"]
    assert ladder["sentence"].split(", ")[0].endswith("NMS")


@pytest.mark.parametrize("key", ["proposals.cosine_boxes", "network.unexplained", "consistency.unexplained"])
def test_layers_are_compared_if_the_network_is_red(results, monkeypatch, key):
    """A gate on what it finds before NMS says so, of whatever batch size; what is within its limits is said to be so."""
    asked = {}

    def find(*arguments, layers, **options):
        asked["layers"] = layers
        return [
            {"kind": "ladder", "data": ladder},
            {"kind": "error_types", "data": {"reference": {}, "candidate": {}}},
        ]

    stage = {"stage": "NMS", "value": 0.003, "low": 0.001, "high": 0.005}
    ladder = {"stages": [stage], "total": stage, "pictures": 8, "sentence": "of +0.0030"}
    monkeypatch.setattr(command, "find_out", find)
    gate = gate_called(key)
    limit = Limit(key, 0.9, gate.direction == "at least", gate.unit, "a paper")
    bad = Measurement(gate.name, 0.5 if limit.at_least else 3.0, gate.unit, 240, gate=key)
    good = Measurement("mAP difference", 0.003, "AP", 240, interval=(0.001, 0.005), gate="paired.loss")
    verdicts = [
        decide("consistency", "batch1", bad, limit, stand_in=True).as_dict(),
        decide("accuracy", "batch2", good, find_limit("paired", "shapes", "loss"), stand_in=True).as_dict(),
    ]
    path = results(verdicts=verdicts)
    assert explain(path) == 0
    assert asked["layers"] == (key != "consistency.unexplained")
    assert json.loads(path.read_text(encoding="utf-8"))["evidence"][1]["data"]["within"] is True


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"run": {}}, "with which settings"),
        ({"run": {"settings": {"dataset": 3, "artifacts": []}}}, "is not a results.json"),
        ({"settings": {"dataset": "/nowhere"}}, "/nowhere does not exist"),
        ({"settings": {"dataset": "a\x1b[31m\nb"}}, "settings that no run has"),
        ({"settings": {"pictures": -3}}, "settings that no run has"),
        ({"settings": {"annotations_sha256": "0" * 64}}, "not the annotation file of the run"),
        ({"settings": {"atc_option": ["--output=/tmp/x"]}}, "cannot be passed on to atc"),
        ({"settings": {"checkpoint": "/nowhere.pth"}}, "/nowhere.pth"),
        ({"settings": {"aipp": True}}, "of no OM was judged"),
        ({"verdicts": []}, "of no OM was judged"),
        ({"environment": {"device": {"stand_in": False}}}, "the run was on an NPU, this is the emulator"),
        ({"environment": {"device": {"stand_in": True, "soc_version": "Ascend910B1"}}}, "the run was on Ascend910B1"),
        (
            {"artifacts": [{"kind": "onnx", "key": "k", "files": {ASCEND: "0" * 64}, "provenance": {}}]},
            "the ONNX of the run is gone",
        ),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(results, exported, capsys, how, words):
    """With exit status 3, what was found and what to do, and the file as it was."""
    path = results(**how)
    before = path.read_bytes()
    assert explain(path, "--artifacts", str(exported)) == 3
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note:")]
    assert words in error[0]
    assert len(error) <= 2, "one line for what was found, one for what to do"
    assert path.read_bytes() == before


def test_a_folder_that_a_file_names_is_not_made(results, tmp_path, exported, monkeypatch):
    """Somebody else's results name somebody else's folders."""

    def stop(*arguments, **options):
        raise UsageError("far enough", "")

    monkeypatch.setattr(command, "find_out", stop)
    path = results(settings={"artifacts": str(tmp_path / "strange"), "references": str(tmp_path / "stranger")})
    assert explain(path, "--artifacts", str(exported)) == 3
    assert not (tmp_path / "strange").exists()
    assert not (tmp_path / "stranger").exists()


@pytest.mark.parametrize(("ratio", "helps"), [(5.0, True), (None, True), (500.0, False)])
def test_float32_is_not_suggested_for_what_is_no_rounding(tmp_path, capsys, ratio, helps):
    """Hundreds of times what fp16 explains are a wrong weight, scale or kernel: no list for atc is written."""
    layer = {"name": "/conv", "operator": "Conv", "error": 0.1, "expected": 0.001, "ratio": ratio}
    data = {"layers": [layer], "first": "/conv", "k": 4.0, "mixed_precision": ["/conv"], "pictures": ["1.jpg"]}
    records = [{"kind": "layers", "data": data}]
    folder = tmp_path / "it's a try"
    folder.mkdir()
    command._suggest(records, folder / "results.json", "batch2")
    assert (folder / "keep_dtype-batch2.cfg").exists() == helps
    said = capsys.readouterr().out
    assert ("--keep_dtype=" in said) == helps
    if helps:  # it will be pasted into a shell
        option = f"--atc-option=--keep_dtype={folder}/keep_dtype-batch2.cfg"
        assert shlex.split(said.rpartition("for the suite: ")[2]) == [option]
    assert ("no rounding" in "\n".join(explained(records))) != helps
