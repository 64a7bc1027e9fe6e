"""The recipe by hand, line by line: `python -m fcos_lib`, from pictures and a checkpoint to mAP and images/s."""

import contextlib
import io
import json
import os
import re
import shutil
import sys
import types

import numpy as np
import onnx
import pytest

from fcos_lib.ascend.om_session import OmSession
from fcos_lib.cli.main import main
from fcos_lib.contract import SHAPES
from fcos_lib.device.npus import use_emulator
from fcos_lib.files import sha256_of
from fcos_lib.measure.coco import matching as coco_matching
from fcos_lib.measure.coco import metrics as coco_metrics
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.recipe.result_folder import read_results
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.feed import detect
from fcos_lib.stream.letterbox import geometry
from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT

PICTURES = 5


@contextlib.contextmanager
def undisturbed():
    """Undo what laying out the emulator does to the process."""
    environ, path, module = dict(os.environ), list(sys.path), sys.modules.get("aclruntime")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environ)
        sys.path[:] = path
        sys.modules.pop("aclruntime", None)
        if module is not None:
            sys.modules["aclruntime"] = module


def part_of_embedded(folder, count):
    """Make a COCO folder of the first `count` pictures of the embedded default, with their objects."""
    for name in ("annotations", "val2017"):
        (folder / name).mkdir(parents=True)
    document = json.loads((EMBEDDED / "annotations" / "instances_val2017.json").read_text())
    document["images"] = document["images"][:count]
    ids = {image["id"] for image in document["images"]}
    document["annotations"] = [box for box in document["annotations"] if box["image_id"] in ids]
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    for image in document["images"]:
        shutil.copy(EMBEDDED / "val2017" / image["file_name"], folder / "val2017")


@pytest.fixture(scope="session")
def run():
    """Run one command line in this process; its exit status, stdout and stderr."""

    def call(*arguments):
        out, err = io.StringIO(), io.StringIO()
        with undisturbed(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main([str(argument) for argument in arguments])
            except SystemExit as stopped:  # argparse
                status = stopped.code
        return types.SimpleNamespace(status=status, out=out.getvalue(), err=err.getvalue())

    return call


@pytest.fixture(scope="session")
def made(run, store, tmp_path_factory):
    """The recipe from end to end, once, on five pictures: folders and what each verb printed."""
    root = tmp_path_factory.mktemp("recipe")
    coco, npu = root / "coco", ["--npu", "emulated", "--artifacts", store.root]
    part_of_embedded(coco, PICTURES)
    om = root / "om" / "model.om"
    steps = {
        "preprocess": ["--dataset", coco, "--output", root / "bins", "--jobs", "1"],
        "info": ["--dataset", coco, "--output", root / "fcos_jpeg.info"],
        "export": [
            "--dataset", coco, "--checkpoint", EMBEDDED_CHECKPOINT, "--output", root / "onnx",
            "--artifacts", store.root,
        ],
        "compile": ["--onnx", root / "onnx" / "ascend.onnx", "--batch-size", "2", "--output", om.parent, *npu],
        "infer": ["--om", om, "--input", root / "bins", "--output", root, *npu],
        "evaluate": ["--results", root / "result", "--dataset", coco],
        "bench": ["--om", om, "--batch-size", "2", "--loop", "3", *npu],
    }  # fmt: skip
    printed = {}
    for verb, options in steps.items():
        result = run(verb, *options)
        assert result.status in (0, 1), f"{verb} ended with {result.status}: {result.err}"
        printed[verb] = result
    return types.SimpleNamespace(root=root, coco=coco, om=om, npu=npu, artifacts=store.root, printed=printed)


def test_preprocess_and_info_write_the_recipes_files(made):
    """One .bin per picture; one line `index path width height` per picture."""
    line = f"5 pictures in {made.root / 'bins'} (5 written, 0 kept), 1,311,744 bytes each, contract shapes\n"
    assert made.printed["preprocess"].out == line
    assert len(list((made.root / "bins").glob("*.bin"))) == PICTURES
    first = (made.root / "fcos_jpeg.info").read_text().splitlines()[0]
    assert first == f"0 {made.coco / 'val2017' / '000000001000.jpg'} 400 400"


@pytest.mark.parametrize("name", ["annotations/instances_val2017.json", "val2017/000000001000.jpg"])
def test_info_writes_over_no_file_of_the_data_set(made, run, name):
    """The annotations would be gone."""
    path = made.coco / name
    before = path.read_bytes()
    refused = run("info", "--dataset", made.coco, "--output", path)
    assert (refused.status, path.read_bytes()) == (3, before)
    assert "is part of the dataset" in refused.err


def test_export_writes_both_endings_and_says_what_they_are(made):
    """Hashes, opset and operator counts of the files that were written."""
    out = made.printed["export"].out
    for name, operator in (("portable.onnx", "NonMaxSuppression 1"), ("ascend.onnx", "BatchMultiClassNMS 1")):
        path = made.root / "onnx" / name
        nodes = len(onnx.load(str(path)).graph.node)
        assert nodes > 100, f"{name} has {nodes} nodes, too few for the network"
        assert f"{path}  {path.stat().st_size:,} bytes\n  sha256     {sha256_of(path)}\n  opset      11\n" in out
        assert operator in out


@pytest.mark.parametrize("batches", [("--batch-size", 4), ("--dynamic-batch", "2,4")])
def test_an_onnx_for_one_batch_size_is_not_compiled_for_another(made, run, tmp_path, batches):
    """atc may take it, and the OM then fails on the device, which would be blamed."""
    fixed = made.om.parent / "ascend_fixed_batch.onnx"
    refused = run("compile", "--onnx", fixed, *batches, "--output", tmp_path, *made.npu)
    assert refused.status == 3
    assert "is for batch size 2 alone, not for " in refused.err
    assert not list(tmp_path.iterdir())


def test_compile_writes_an_om_and_its_log(made):
    """For the chip of the device and the batch size asked for."""
    out = made.printed["compile"].out
    assert f"{made.om}  {made.om.stat().st_size:,} bytes" in out
    assert "batch size 2, Ascend310P3, force_fp16" in out
    assert "STAND-IN" in out
    assert "ATC run success" in (made.om.parent / "atc.log").read_text()
    given = made.om.parent / "ascend_fixed_batch.onnx"
    assert f"  from       {given}\n" in out
    assert onnx.load(given).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_infer_writes_what_ais_bench_would(made):
    """Two files per picture, nothing for the filling of the last batch, and the summary beside the folder."""
    sizes = {path.name: path.stat().st_size for path in (made.root / "result").iterdir()}
    assert len(sizes) == 2 * PICTURES
    assert {size for name, size in sizes.items() if name.endswith("_0.bin")} == {800}
    assert {size for name, size in sizes.items() if name.endswith("_1.bin")} == {2000}
    summary = json.loads((made.root / "result_summary.json").read_text())
    assert summary["stand_in"] is True
    assert len(summary["filesinfo"]) == PICTURES
    assert summary["NPU_compute_time"]["count"] == len(summary["npu_compute_time_list"]) == 3, "warm-up is not counted"
    assert not {"args", "H2D_latency", "D2H_latency", "throughput", "pid"} - summary.keys()
    assert "filesperbatch:2 runcount:3" in made.printed["infer"].out


def test_the_files_hold_what_the_model_finds(made):
    """preprocess, infer and evaluate by files find exactly what the suite finds in memory."""
    dataset = open_dataset(made.coco)
    from_files = read_results(made.root / "result", dataset, SHAPES).detections
    with undisturbed():
        device = use_emulator(made.artifacts / "emulator")[0]
        with OmSession(made.om, SHAPES, 2, device.device_id) as session:
            in_memory = detect(session, dataset.pictures, SHAPES, 2)
    assert any(map(len, in_memory.values())), "nothing was found, so nothing is compared"
    for picture_id, detections in in_memory.items():
        for part in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(getattr(from_files[picture_id], part), getattr(detections, part))


def test_evaluate_prints_twelve_numbers_the_limit_and_where_they_come_from(made):
    """The emulator's results are STAND-IN at best."""
    out = made.printed["evaluate"].out
    assert "5 pictures, ais_bench naming (_0, _1), labels first, labels int64, .bin" in out
    assert "computed  by the emulator, says result_summary.json: STAND-IN" in out
    assert len(re.findall(r"\b(?:mAP|A[PR]\w+) +-?\d\.\d{3}\b", out)) == 12, out
    assert "accuracy[result] mAP is NO VERDICT" in out
    assert "limits.toml: accuracy.shapes.mAP" in out
    assert "0.661 is a limit for shapes; this folder holds 5 pictures" in out
    assert re.search(r"mAP as published, by the recipe's arithmetic: 0\.\d{4} ", out)
    assert re.search(
        r"accuracy\[result\] distance from pycocotools is STAND-IN\n  measured  \d[.e\d-]* AP over [12]\d samples", out
    )
    assert "PASS" not in out


def test_evaluate_judges_nothing_by_a_ruler_that_is_off(made, run, monkeypatch):
    """IoU thresholds only to 0.90 raised the mAP of the embedded set from 0.668 to 0.739, and `evaluate` called it PASS."""
    for module in (coco_matching, coco_metrics):
        monkeypatch.setattr(module, "IOU_THRESHOLDS", np.linspace(0.5, 0.9, 9))
    result = run("evaluate", "--results", made.root / "result", "--dataset", made.coco)
    assert result.status == 1
    assert "accuracy[result] distance from pycocotools is NO VERDICT" in result.out
    assert "but       the ruler is off: nothing is known about the model" in result.out
    assert "accuracy[result] mAP is" not in result.out, "it was judged all the same"


@pytest.mark.parametrize("right", [True, False])
def test_evaluate_judges_the_whole_data_set(run, tmp_path, right):
    """All 240 pictures are those of the limit: the truth as results is PASS, if an NPU made the files, and nothing is FAIL."""
    dataset, folder = open_dataset(EMBEDDED), tmp_path / "result"
    truth = read_truth(dataset)
    label = {kind: index for index, kind in enumerate(truth.label_categories(SHAPES).tolist())}
    folder.mkdir()
    for position, picture in enumerate(dataset.pictures):
        rows = np.flatnonzero((truth.pictures == position) & ~truth.crowd) if right else []
        fit = geometry(picture.width, picture.height, SHAPES)
        boxes = truth.boxes[rows] + np.pad(truth.boxes[rows, :2], ((0, 0), (2, 0)))
        labels, dets = np.zeros(100, np.int64), np.zeros((100, 5), np.float32)
        labels[: len(rows)] = [label[kind] for kind in truth.categories[rows].tolist()]
        dets[: len(rows), :4] = boxes * ([fit.scale_x, fit.scale_y] * 2) + ([fit.left, fit.top] * 2)
        dets[: len(rows), 4] = 0.9
        labels.tofile(folder / f"{picture.path.stem}_0.bin")
        dets.tofile(folder / f"{picture.path.stem}_1.bin")
    result = run("evaluate", "--results", folder, "--dataset", EMBEDDED)
    assert result.status == (0 if right else 1)
    assert f"accuracy[result] mAP is {'PASS' if right else 'FAIL'}" in result.out
    assert ("counts    only if an NPU computed these files" in result.out) is right
    assert "a limit for shapes" not in result.out


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        (None, "by an unknown device: the files do not say, and no summary is beside the folder"),
        ('{"stand_in": false}', "on an NPU, says result_summary.json"),
        ('{"throughput": 1}', "by an unknown device: result_summary.json is not of fcos_lib's infer"),
        ("[]", "by an unknown device: result_summary.json is not of fcos_lib's infer"),
        ("[" * 100_000, "by an unknown device (result_summary.json cannot be read)"),
    ],
    ids=["none", "npu", "ais_bench", "list", "deep"],
)
def test_the_summary_beside_the_results_says_who_computed_them(made, run, tmp_path, summary, words):
    """Only our own `infer` writes it down; PASS counts only where an NPU is known to be behind it."""
    shutil.copytree(made.root / "result", tmp_path / "result")
    if summary is not None:
        (tmp_path / "result_summary.json").write_text(summary)
    result = run("evaluate", "--results", tmp_path / "result", "--dataset", made.coco)
    assert result.status == 1, "five pictures are too few to judge"
    assert words in result.out
    assert "accuracy[result] mAP is NO VERDICT" in result.out
    assert "counts" not in result.out, "nothing is PASS"


def test_bench_prints_ais_benchs_lines(made):
    """One warm-up, three rounds, the throughput line that parsers look for, and STAND-IN."""
    out = made.printed["bench"].out
    assert out.startswith("[INFO] try get model batchsize:2\n[INFO] warm up 1 done\n[INFO] -----")
    assert re.search(
        r"STAND-IN throughput 1000\*batchsize\.mean\(2\)/NPU_compute_time\.mean\([\d.]+\): [\d.]+$", out, re.M
    )
    assert out.endswith("STAND-IN: measured on the emulator; says nothing about hardware\n")


def test_bench_refuses_a_batch_size_that_is_not_the_oms(made, run):
    """ais_bench multiplies by whatever it is told."""
    result = run("bench", "--om", made.om, "--batch-size", "8", *made.npu)
    assert result.status == 3
    assert "has batch size 2, not 8" in result.err
    assert "1000 x 8 / mean time, 4 x the true throughput" in result.err


def test_one_om_for_several_batch_sizes_is_compiled_and_run(made, run, tmp_path):
    """`--dynamic-batch` makes it; `bench` then has to be told which of its batch sizes is meant."""
    onnx_model = made.root / "onnx" / "ascend.onnx"
    result = run("compile", "--onnx", onnx_model, "--dynamic-batch", "2,1", "--output", tmp_path, *made.npu)
    assert result.status == 0, result.err
    assert "compiled   batch sizes 1, 2, Ascend310P3, force_fp16" in result.out
    om = tmp_path / "model.om"
    done = run("bench", "--om", om, "--batch-size", "1", "--loop", "1", *made.npu)
    assert done.status == 0, done.err
    assert "batchsize.mean(1)" in done.out
    refused = run("bench", "--om", om, "--batch-size", "3", *made.npu)
    assert f"{om} has profiles for batch sizes 1, 2, not for 3" in refused.err
    refused = run("infer", "--om", om, "--input", made.root / "bins", "--output", tmp_path, *made.npu)
    assert f"{om} has profiles for batch sizes 1, 2\n" in refused.err


def test_results_are_replaced_only_when_asked(made, run, tmp_path):
    """Results of another run would be evaluated as this one's; network inputs are never removed."""
    arguments = ["infer", "--om", made.om, "--input", made.root / "bins", "--output", tmp_path, *made.npu]
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "old_0.bin").write_bytes(bytes(800))
    refused = run(*arguments)
    assert refused.status == 3
    assert "already holds 1 results (old_0.bin, ...)\n  → pass --fresh" in refused.err
    assert run(*arguments, "--fresh").status == 0
    assert len(list((tmp_path / "result").iterdir())) == 2 * PICTURES
    shutil.copy(made.root / "bins" / "000000001000.bin", tmp_path / "result" / "x_0.bin")
    refused = run(*arguments, "--fresh")
    assert "holds files that are no results (x_0.bin; 1 in all)" in refused.err
    assert len(list((tmp_path / "result").iterdir())) == 2 * PICTURES + 1


def test_the_chosen_contract_must_fit(made, run, tmp_path):
    """COCO's classes are not in the drawings, and its size is not the OM's."""
    result = run("preprocess", "--dataset", made.coco, "--contract", "coco_r50", "--output", tmp_path / "bins")
    assert result.status == 3
    assert "contract 'coco_r50' has 80 classes that" in result.err
    inputs = ["--input", made.root / "bins", "--contract", "coco_r50", "--output", tmp_path]
    result = run("infer", "--om", made.om, *inputs, *made.npu)
    assert "has 1,311,744 bytes, and one input of contract 'coco_r50' has 12,796,800" in result.err


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("onnx/portable.onnx", [], "has no BatchMultiClassNMS, so it is not the ending for Ascend"),
        ("fcos_jpeg.info", [], "is no ONNX model"),
        ("none.onnx", [], "there is no ONNX model at"),
        ("onnx/ascend.onnx", ["--atc-option=--model=x"], "'--model=x' cannot be passed on to atc"),
        (
            "onnx/ascend.onnx",
            ["--precision-mode", "fp8"],
            "E10001: Value fp8 for parameter --precision_mode is invalid",
        ),
    ],
    ids=["portable", "garbage", "absent", "owned", "precision"],
)
def test_compile_refuses_what_cannot_work(made, run, tmp_path, model, options, words):
    """Before atc where that is possible; where not, in atc's words, with its code and the path of its log."""
    result = run("compile", "--onnx", made.root / model, *options, "--batch-size", "1", "--output", tmp_path, *made.npu)
    assert result.status == 3
    assert words in result.err
    assert "Traceback" not in result.err
    assert (str(tmp_path / "atc.log") in result.err) == ("E10001" in words), "the log is named when atc was run"
    assert not list(tmp_path.glob("*.om"))


def test_blanks_in_paths_are_refused_by_info(made, run, tmp_path):
    """The recipe's postprocessing cuts the lines at blanks."""
    shutil.copytree(made.coco, tmp_path / "my coco")
    result = run("info", "--dataset", tmp_path / "my coco", "--output", tmp_path / "x.info")
    assert result.status == 3
    assert "has a blank in it" in result.err
    assert not (tmp_path / "x.info").exists()


def test_required_without_an_npu_is_an_error(made, run, monkeypatch):
    """The emulator is never taken where an NPU was asked for, nor is one that lies on the PATH."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(sys.modules, "aclruntime", None)
    arguments = ["bench", "--om", made.om, "--batch-size", "2", "--npu", "required", "--artifacts", made.artifacts]
    result = run(*arguments)
    assert result.status == 3
    assert "no NPU can be used here" in result.err
    with undisturbed():
        sys.modules.pop("aclruntime", None)
        use_emulator(made.artifacts / "emulator")
        result = run(*arguments)
    assert result.status == 3
    assert "the CANN found here is the emulator (STAND-IN)" in result.err
