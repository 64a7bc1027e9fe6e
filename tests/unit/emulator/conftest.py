"""A detector small enough to compile in milliseconds, and the software `atc` that compiles it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcos_lib.emulator import aclruntime, atc, scenario

PROPOSALS, CLASSES, ROWS = 16, 3, 10


def make_detector(opset=11):
    """Conv, Relu and a second Conv for boxes, Conv and Sigmoid for scores, then the recipe's ending; batch-dynamic."""
    random = np.random.default_rng(1)

    def weight(name, *shape, scale=1.0):
        return numpy_helper.from_array((random.normal(size=shape) * scale).astype(np.float32), name)

    node = helper.make_node
    axes = {"axes": [2]}
    nodes = [
        node("Conv", ["input", "w0", "b0"], ["features"], "Conv_0", kernel_shape=[4, 4], strides=[4, 4]),
        node("Relu", ["features"], ["active"], "Relu_1"),
        node("Conv", ["active", "w1"], ["distances"], "Conv_2", kernel_shape=[1, 1]),
        node("Exp", ["distances"], ["lengths"], "Exp_3"),
        node("Transpose", ["lengths"], ["lengths_last"], "Transpose_4", perm=[0, 2, 3, 1]),
        node("Reshape", ["lengths_last", "shape4"], ["sizes"], "Reshape_5"),
        node("Add", ["sizes", "corners"], ["boxes"], "Add_6"),
        node("Conv", ["active", "w2"], ["logits"], "Conv_7", kernel_shape=[1, 1]),
        node("Transpose", ["logits"], ["logits_last"], "Transpose_8", perm=[0, 2, 3, 1]),
        node("Reshape", ["logits_last", "shape3"], ["flat_logits"], "Reshape_9"),
        node("Sigmoid", ["flat_logits"], ["scores"], "Sigmoid_10"),
        node("Unsqueeze", ["boxes"], ["boxes_shared"], "Unsqueeze_11", **axes),
        node("Cast", ["boxes_shared"], ["boxes_half"], "Cast_12", to=TensorProto.FLOAT16),
        node("Cast", ["scores"], ["scores_half"], "Cast_13", to=TensorProto.FLOAT16),
        node(
            "BatchMultiClassNMS",
            ["boxes_half", "scores_half"],
            ["nms_boxes", "nms_scores", "nms_classes", "nms_num"],
            "BatchMultiClassNMS_14",
            score_threshold=0.05,
            iou_threshold=0.5,
            max_size_per_class=ROWS,
            max_total_size=ROWS,
        ),
        node("Cast", ["nms_classes"], ["labels"], "Cast_15", to=TensorProto.INT64),
        node("Cast", ["nms_boxes"], ["boxes_full"], "Cast_16", to=TensorProto.FLOAT),
        node("Cast", ["nms_scores"], ["scores_full"], "Cast_17", to=TensorProto.FLOAT),
        node("Unsqueeze", ["scores_full"], ["score_column"], "Unsqueeze_18", **axes),
        node("Concat", ["boxes_full", "score_column"], ["dets"], "Concat_19", axis=2),
    ]
    corners = np.tile(np.arange(PROPOSALS, dtype=np.float32)[:, None] * 30, (1, 4))
    corners[:, 2:] += 20
    constants = [
        weight("w0", 8, 3, 4, 4, scale=0.02),
        weight("b0", 8),
        weight("w1", 4, 8, 1, 1, scale=0.3),
        weight("w2", CLASSES, 8, 1, 1),
        numpy_helper.from_array(corners[None], "corners"),
        numpy_helper.from_array(np.array([-1, PROPOSALS, 4]), "shape4"),
        numpy_helper.from_array(np.array([-1, PROPOSALS, CLASSES]), "shape3"),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["batch", ROWS]),
            helper.make_tensor_value_info("dets", TensorProto.FLOAT, ["batch", ROWS, 5]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)


@pytest.fixture
def detector():
    """The detector as an ONNX model."""
    return make_detector()


@pytest.fixture
def play(monkeypatch):
    """Set the scenario that the emulator plays."""
    return lambda text: monkeypatch.setenv(scenario.VARIABLE, text)


@pytest.fixture
def run_atc(tmp_path, monkeypatch, capfd, play):
    """Run `atc` in an empty folder that holds `detector.onnx`: (exit status, stdout, stderr) for its arguments."""
    play("")
    monkeypatch.chdir(tmp_path)
    onnx.save(make_detector(), "detector.onnx")

    def run(*arguments):
        status = atc.main(list(arguments))
        printed = capfd.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def command():
    """A complete `atc` command line for batch 2, as a dict to be changed and joined."""
    return {
        "--framework": "5",
        "--model": "detector.onnx",
        "--output": "out",
        "--input_shape": "input:2,3,16,16",
        "--soc_version": "Ascend310P3",
        "--out_nodes": "labels;dets",
    }


@pytest.fixture
def compile_om(run_atc, command, tmp_path):
    """Compile the detector with further options; the path of the OM."""

    def compiled(**options):
        changed = command | {f"--{name}": value for name, value in options.items()}
        status, out, err = run_atc(*(f"{name}={value}" for name, value in changed.items()))
        assert status == 0, f"atc failed: {out}{err}"
        return tmp_path / f"{changed['--output']}.om"

    return compiled


@pytest.fixture
def pictures():
    """A batch of two: float32[2, 3, 16, 16]."""
    return (np.random.default_rng(2).normal(size=(2, 3, 16, 16)) * 40).astype(np.float32)


@pytest.fixture
def load(compile_om, play):
    """Open a session of a scenario on the compiled detector."""
    path = compile_om()

    def load(scenario="", device=0, options=None, path=path):
        play(scenario)
        return aclruntime.InferenceSession(str(path), device, options or aclruntime.session_options())

    return load
