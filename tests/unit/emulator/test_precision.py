"""fp16 is real: values are rounded where the device would, and nowhere else."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from fcos_lib.emulator import om
from fcos_lib.emulator.precision import round_to_half
from fcos_lib.emulator.processor import Model

TAPS = "Conv_0:0;Relu_1:0;Conv_2:0;Exp_3:0;Add_6:0;Sigmoid_10:0"


def is_half(array):
    """Whether every value is an fp16 number."""
    return np.array_equal(array, array.astype(np.float16).astype(np.float32))


@pytest.fixture
def tapped(compile_om, pictures):
    """Activations by node name for a precision mode."""

    def run(mode, taps=TAPS):
        option = "precision_mode_v2" if mode == "origin" else "precision_mode"
        model = Model(compile_om(**{option: mode}, out_nodes=taps))
        return dict(zip(taps.split(";"), model.execute([pictures]), strict=True))

    return run


def test_every_activation_is_an_fp16_number(tapped):
    """The default mode rounds after each operator, and onnxruntime's optimiser does not undo it."""
    activations = tapped("force_fp16")
    wrong = [name for name, array in activations.items() if not is_half(array)]
    assert not wrong, f"not rounded: {wrong}"


def test_the_optimiser_keeps_the_rounding_before_a_fused_relu(tapped):
    """Without a tap between Conv and Relu the two are fused, and their result is rounded all the same."""
    together = tapped("force_fp16", "Relu_1:0;Exp_3:0")
    apart = tapped("force_fp16")
    for name, array in together.items():
        assert is_half(array), name
        np.testing.assert_array_equal(array, apart[name], err_msg=f"rounding after the Relu changed {name}")


@pytest.mark.parametrize("mode", ["force_fp32", "must_keep_origin_dtype", "origin"])
def test_exact_modes_round_nothing(tapped, mode):
    """And what they compute differs from fp16, a little; precision_mode_v2 has a name of its own for that."""
    exact, rounded = tapped(mode), tapped("force_fp16")
    for name in ("Conv_2:0", "Exp_3:0", "Sigmoid_10:0"):
        assert not is_half(exact[name]), f"{name} is rounded in {mode}"
        difference = np.abs(exact[name] - rounded[name]).max() / np.abs(exact[name]).max()
        assert 0 < difference < 0.01, f"{name} differs by {difference}"


def test_the_input_is_rounded_too(compile_om, pictures):
    """A change of the input below fp16's resolution does not reach the output."""
    model = Model(compile_om(out_nodes="Relu_1:0"))
    half = pictures.astype(np.float16).astype(np.float32)
    nudged = np.nextafter(half, np.float32(np.inf))
    np.testing.assert_array_equal(model.execute([half])[0], model.execute([nudged])[0])


def test_detections_show_the_rounding(compile_om, pictures):
    """Scores are fp16 in every mode, for the NMS is, yet the trunk's rounding moves some of them."""
    rounded = Model(compile_om()).execute([pictures])[1]
    exact = Model(compile_om(precision_mode="force_fp32")).execute([pictures])[1]
    assert is_half(rounded)
    assert is_half(exact)
    assert not np.array_equal(rounded, exact)
    moved = np.abs(rounded[..., 4] - exact[..., 4]).max()
    assert moved < 0.01, f"a score moved by {moved:.4f}, fp16 explains 0.01"


def constant_model(array):
    """x + constant, the constant given by a Constant node."""
    node = helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(array))
    graph = helper.make_graph(
        [node, helper.make_node("Add", ["x", "c"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, array.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, array.shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


@pytest.mark.parametrize("size", [1, 100])
def test_constants_are_rounded_and_overflow_as_on_the_device(size):
    """1e9 in a constant becomes infinite, the well-known way to lose accuracy."""
    model = round_to_half(constant_model(np.full(size, 1e9, np.float32)))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.isinf(session.run(None, {"x": np.zeros(size, np.float32)})[0]).all()


def test_large_weights_are_stored_in_half_the_bytes():
    """The OM of a large model is half the ONNX."""
    model = constant_model(np.random.default_rng(0).normal(size=50_000).astype(np.float32))
    half, full = len(round_to_half(model).SerializeToString()), len(model.SerializeToString())
    assert half < 0.55 * full, f"the rounded model has {half} bytes of {full}"


def test_the_trunk_alone_compiles_without_nms(detector, run_atc, command, tmp_path, pictures):
    """An ONNX without BatchMultiClassNMS is one graph, and its proposals are float32 as declared."""
    del detector.graph.node[11:]
    del detector.graph.output[:]
    for name in ("boxes", "scores"):
        detector.graph.output.append(onnx.ValueInfoProto(name=name))
    onnx.save(onnx.shape_inference.infer_shapes(detector), "detector.onnx")
    command["--out_nodes"] = "boxes;scores"
    assert run_atc(*(f"{name}={value}" for name, value in command.items()))[0] == 0
    loaded = om.read(tmp_path / "out.om")
    assert (loaded.header.nms, loaded.graphs[2]) == (None, b"")
    boxes, scores = Model(tmp_path / "out.om").execute([pictures])
    assert (boxes.shape, scores.shape, boxes.dtype) == ((2, 16, 4), (2, 16, 3), np.float32)
