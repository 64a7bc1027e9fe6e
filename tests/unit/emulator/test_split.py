"""What runs picture by picture gives the bits of the whole batch, and nothing that may mix pictures runs that way."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcos_lib.artifacts import ASCEND
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.contract import SHAPES
from fcos_lib.emulator import processor as device
from fcos_lib.emulator.compile import compile_onnx
from fcos_lib.emulator.operators import split
from fcos_lib.emulator.processor import Model
from fcos_lib.model.fixed_batch import with_fixed_batch
from fcos_lib.store.artifacts import Store
from fixtures.settings import EMBEDDED_CHECKPOINT

BATCH = 3
node = helper.make_node


def constant(name, array):
    """An initialiser."""
    return numpy_helper.from_array(np.asarray(array), name)


def network(*middle, constants=()):
    """Conv, `middle` from `a` to `b`, Conv: [3, 2, 6, 6] to [3, 2, 6, 6]."""
    random = np.random.default_rng(3)
    weights = [constant(name, random.normal(size=(2, 2, 1, 1)).astype(np.float32)) for name in ("w0", "w1")]
    nodes = [
        node("Conv", ["x", "w0"], ["a"], "first", kernel_shape=[1, 1]),
        *middle,
        node("Conv", ["b", "w1"], ["y"], "last", kernel_shape=[1, 1]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, 2, 6, 6]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [*weights, *constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def names(part):
    """The nodes of a part, by name."""
    return {item.name for item in part.graph.node} if part else set()


def run(model, values):
    """All outputs by name."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {item.name: values[item.name] for item in session.get_inputs()})
    return dict(zip([item.name for item in session.get_outputs()], outputs, strict=True))


def run_split(each, rest, pictures):
    """As the device does: the first part on each picture, the rest on all of them."""
    values = {"x": pictures}
    by_picture = [run(each, {"x": pictures[slot : slot + 1]}) for slot in range(BATCH)]
    values |= {name: np.concatenate([made[name] for made in by_picture]) for name in by_picture[0]}
    return (values | run(rest, values) if rest else values)["y"]


@pytest.fixture
def several():
    """Three pictures of which no two are alike."""
    return np.random.default_rng(4).normal(size=(BATCH, 2, 6, 6)).astype(np.float32)


MIXING = {
    "reshaped to other rows": network(
        node("Reshape", ["a", "to"], ["rows"], "mix"),
        node("Transpose", ["rows"], ["turned"], perm=[1, 0]),
        node("Reshape", ["turned", "back"], ["b"]),
        constants=[constant("to", [2, -1]), constant("back", [BATCH, 2, 6, 6])],
    ),
    "averaged over the batch": network(node("ReduceMean", ["a"], ["mean"], "mix", axes=[0]), node("Add", ["a", "mean"], ["b"])),
    "rolled by one slot": network(
        node("Gather", ["a", "order"], ["b"], "mix", axis=0), constants=[constant("order", [1, 2, 0])]
    ),
    "another constant for each slot": network(
        node("Add", ["a", "shifts"], ["b"], "mix"),
        constants=[constant("shifts", np.arange(BATCH, dtype=np.float32).reshape(BATCH, 1, 1, 1))],
    ),
    "weights made of pictures": network(
        node("Slice", ["a", "from", "to"], ["w2"], "mix"),
        node("Conv", ["a", "w2"], ["b"], kernel_shape=[1, 1]),
        constants=[constant("from", [0, 0, 0, 0]), constant("to", [2, 2, 1, 1])],
    ),
    "scaled by the size of the batch": network(
        node("Shape", ["a"], ["shape"]),
        node("Gather", ["shape", "zero"], ["count"], axis=0),
        node("Cast", ["count"], ["factor"], to=TensorProto.FLOAT),
        node("Mul", ["a", "factor"], ["b"], "mix"),
        constants=[constant("zero", np.array(0))],
    ),
    "resized along the batch": network(
        node("Resize", ["a", "", "", "sizes"], ["longer"], "mix", mode="nearest"),
        node("Slice", ["longer", "from", "to"], ["b"]),
        constants=[constant("sizes", [2 * BATCH, 2, 6, 6]), constant("from", [1]), constant("to", [1 + BATCH])],
    ),
    "resized to a size that is computed": network(
        node("Shape", ["a"], ["shape"]),
        node("Resize", ["a", "", "", "shape"], ["b"], "mix", mode="nearest"),
    ),
    "as rows of a matrix": network(
        node("Reshape", ["a", "flat"], ["rows"]),
        node("Softmax", ["rows"], ["shares"], "mix", axis=0),
        node("Reshape", ["shares", "back"], ["b"]),
        constants=[constant("flat", [BATCH, -1]), constant("back", [BATCH, 2, 6, 6])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("model", MIXING.values(), ids=MIXING)
def test_what_may_mix_pictures_runs_on_the_whole_batch(model, several):
    """Or a network in which one picture changes another's result would look sound on the emulator."""
    each, rest = split(model)
    assert "mix" not in names(each), "an operator that mixes pictures is run picture by picture"
    outputs = run_split(each, rest, several) if each else run(rest, {"x": several})["y"]
    # onnxruntime folds a factor into a convolution where it can, which moves last bits.
    np.testing.assert_allclose(outputs, run(model, {"x": several})["y"], rtol=1e-4, atol=1e-5)


ALIKE = {
    "activation": network(node("Relu", ["a"], ["b"], "middle")),
    "the same constant for all": network(
        node("Mul", ["a", "scale"], ["b"], "middle"), constants=[constant("scale", np.float32([[[[2]], [[3]]]]))]
    ),
    "sum of two layers": network(node("Sigmoid", ["a"], ["s"]), node("Add", ["a", "s"], ["b"], "middle")),
    "resized to the size of a fixed batch": network(
        node("MaxPool", ["a"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["half", "", "", "sizes"], ["b"], "middle", mode="nearest"),
        constants=[constant("sizes", [BATCH, 2, 6, 6])],
    ),
}


@pytest.mark.parametrize("model", ALIKE.values(), ids=ALIKE)
def test_what_treats_each_picture_by_itself_is_cut_off(model, several):
    """The whole network here, and its bits stay."""
    each, rest = split(model)
    assert names(each) >= {"first", "middle", "last"}, f"cut off are only {names(each)}"
    assert rest is None, f"left for the whole batch: {names(rest)}"
    np.testing.assert_array_equal(run_split(each, rest, several), run(model, {"x": several})["y"])


def test_the_embedded_network_is_cut_behind_its_last_convolution(exported):
    """All that takes long goes picture by picture; that half of the time is lost otherwise shows nowhere else."""
    models = onnx_artifact(Store(exported), SHAPES, EMBEDDED_CHECKPOINT)
    model = with_fixed_batch(onnx.load(models.path / ASCEND), 2)
    (each, before, _), _ = compile_onnx(model, {SHAPES.input_name: SHAPES.input_shape(2)}, [], half=True)
    assert each, "no part of the network runs picture by picture"
    late = [node.name for node in before.graph.node if node.op_type in ("Conv", "Resize")]
    assert not late, f"these run on the whole batch: {late[:5]}"


def test_a_tensor_that_both_parts_need_is_handed_over():
    """The head reads what the backbone made, and it is an output of the OM as well."""
    model = MIXING["rolled by one slot"]
    model.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [BATCH, 2, 6, 6]))
    each, rest = split(model)
    assert [value.name for value in each.graph.output] == ["a"]
    assert [value.name for value in rest.graph.output] == ["y"]


def test_a_graph_without_a_convolution_stays_whole():
    """There is no time to be saved."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 1, 2, 2]) for name in "xy"]
    graph = helper.make_graph([node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert split(model)[1] is model


@pytest.fixture
def counted(monkeypatch):
    """Pictures that went through the part for one picture, one entry each."""
    calls = []
    whole = device._run

    def run(session, values):
        if "input" in [value.name for value in session.get_inputs()]:
            calls.append(values["input"].copy())
        return whole(session, values)

    monkeypatch.setattr(device, "_run", run)
    return calls


def test_every_picture_goes_through_the_network_in_every_run(compile_om, counted, pictures):
    """Nothing is kept from one batch to the next, or a green run would not mean that anything was computed."""
    model = Model(compile_om())
    for _ in range(3):
        model.execute([pictures])
    assert len(counted) == 3 * len(pictures)
    assert all(len(item) == 1 for item in counted)


def test_equal_pictures_of_a_batch_are_computed_once(compile_om, counted, pictures):
    """Padding, and what fills a batch by repetition; a last bit that differs is another picture."""
    model = Model(compile_om(input_shape="input:5,3,16,16"))
    other = np.nextafter(pictures[0], np.float32(np.inf))
    batch = np.stack([pictures[0], pictures[1], pictures[0], other, pictures[1]])
    outputs = model.execute([batch])
    assert len(counted) == 3
    alone = [Model(compile_om(input_shape="input:1,3,16,16", output="alone")).execute([item[None]]) for item in batch]
    np.testing.assert_array_equal(outputs[1], np.concatenate([item[1] for item in alone]))
