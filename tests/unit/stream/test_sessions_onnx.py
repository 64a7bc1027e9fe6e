"""The reference says what its numbers depend on, and neither threads nor batch size are among it."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from fcos_lib.contract import SHAPES
from fcos_lib.stream.sessions import OnnxSession


@pytest.fixture
def model(tmp_path):
    """A contract's inputs and outputs around one convolution whose sums go into every output."""
    weights = np.random.default_rng(4).normal(0, 1, (16, 3, 7, 7)).astype(np.float32)
    constants = {"weights": weights, "row": np.array([1, 100], np.int64), "rows": np.array([1, 100, 5], np.int64)}
    nodes = [
        helper.make_node("Conv", ["input", "weights"], ["features"], strides=[4, 4]),
        helper.make_node("ReduceMax", ["features"], ["peaks"], axes=[2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["peaks"], ["boxes"], axes=[1]),
        helper.make_node("ReduceMean", ["features"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["means"], ["scores"], axes=[1]),
        helper.make_node("ReduceMean", ["features"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean"], ["column"], axes=[1]),
        helper.make_node("Tile", ["column", "row"], ["row of means"]),
        helper.make_node("Cast", ["row of means"], ["labels"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["mean"], ["block"], axes=[1, 2]),
        helper.make_node("Tile", ["block", "rows"], ["dets"]),
    ]
    types = {
        "labels": TensorProto.INT64,
        "dets": TensorProto.FLOAT,
        "boxes": TensorProto.FLOAT,
        "scores": TensorProto.FLOAT,
    }
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *SHAPES.input_shape(1)[1:]])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    path = tmp_path / "small.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7), path)
    return path


def test_the_reference_says_what_its_numbers_depend_on(model):
    """Version, provider and optimisation level are part of the key of stored results; the number of threads is not."""
    with OnnxSession(model, SHAPES) as one, OnnxSession(model, SHAPES, threads=2) as other:
        assert one.numerics == other.numerics
        assert one.numerics == {
            "runtime": f"onnxruntime {onnxruntime.__version__}",
            "provider": "CPUExecutionProvider",
            "optimization": "ORT_ENABLE_ALL",
        }


ON_ONE_CORE = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
from pathlib import Path
import onnxruntime
from fcos_lib.contract import SHAPES
from fcos_lib.stream.sessions import OnnxSession
before = set(os.listdir("/proc/self/task"))
with OnnxSession(Path(sys.argv[1]), SHAPES):
    print(len(set(os.listdir("/proc/self/task")) - before))
"""


def test_a_process_on_one_core_has_no_second_thread(model):
    """onnxruntime alone counts the cores of the machine, and its threads go to cores that this process was not given."""
    done = subprocess.run([sys.executable, "-c", ON_ONE_CORE, model], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n", f"{done.stdout.strip()} threads were started besides the one that calls"


def test_threads_and_batch_size_change_no_bit(model):
    """Results computed one at a time may stand for those of any batch."""
    pictures = np.random.default_rng(5).normal(0, 50, SHAPES.input_shape(3)).astype(np.float32)
    with OnnxSession(model, SHAPES, threads=1) as one, OnnxSession(model, SHAPES, threads=2) as other:
        together, boxes, scores = other.run_and_proposals(pictures)
        alone = [one.run_and_proposals(pictures[slot : slot + 1]) for slot in range(3)]
    np.testing.assert_array_equal(together.dets, np.concatenate([outputs.dets for outputs, _, _ in alone]))
    np.testing.assert_array_equal(boxes, np.concatenate([found for _, found, _ in alone]))
    np.testing.assert_array_equal(scores, np.concatenate([found for _, _, found in alone]))
    assert np.ptp(boxes) > 0, f"all {boxes.size} coordinates are the same"
