"""The tensors of an OM are compared with the contract before anything runs."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fcos_lib.ascend.om_session import OmSession
from fcos_lib.ascend.om_tensors import read_tensors, tap_places
from fcos_lib.contract import InputLayout
from fcos_lib.errors import SessionError

ROWS = 5
BATCH = 2
UINT8 = InputLayout.UINT8_NHWC
NHWC = 1


@pytest.mark.parametrize(
    "names",
    [
        ("Cast_12:0:labels", "Concat_13:0:dets"),
        ("labels", "dets"),
        ("Cast_12:0", "Concat_13:0"),
        ("trans_Cast_5:0", "PartitionedCall_Concat_13_Fused:0"),
    ],
    ids=["three-fields", "plain", "nodes", "fused"],
)
@pytest.mark.parametrize("reverse", [False, True], ids=["labels-first", "dets-first"])
def test_outputs_are_found_in_either_order(new_fake, describe, om, contract, batch, names, reverse):
    """`labels;dets` and `dets;labels` both occur in the field; names help where atc kept them, shapes otherwise."""
    new_fake.outputs = [describe(names[0], "int64", BATCH, ROWS), describe(names[1], "float32", BATCH, ROWS, 5)]
    if reverse:
        new_fake.outputs.reverse()
    with OmSession(om, contract, BATCH) as session:
        outputs = session.run(batch)
    np.testing.assert_array_equal(outputs.labels, new_fake.labels)
    np.testing.assert_array_equal(outputs.dets, new_fake.dets)


def test_the_name_decides_between_outputs_of_one_shape(new_fake, describe, om, contract, batch):
    """An OM may return more than was promised; atc's names say which output is meant."""
    new_fake.outputs.insert(0, describe("Cast_9:0:ages", "int64", BATCH, ROWS))
    new_fake.results = lambda: [new_fake.labels + 7, new_fake.labels, new_fake.dets]
    with OmSession(om, contract, BATCH) as session:
        np.testing.assert_array_equal(session.run(batch).labels, new_fake.labels)


def test_int32_labels_are_widened_and_noted(new_fake, describe, om, contract, batch):
    """Other exporters leave int32; no label is lost, and the session says so."""
    new_fake.outputs[0] = describe("labels", "int32", BATCH, ROWS)
    new_fake.labels = new_fake.labels.astype(np.int32)
    with OmSession(om, contract, BATCH) as session:
        outputs = session.run(batch)
    assert outputs.labels.dtype == np.int64
    assert session.labels_widened


@pytest.mark.parametrize(
    ("outputs", "advice"),
    [
        ([("labels", "int64", BATCH, ROWS)], "at this batch size"),
        ([("labels", "int64", 4, ROWS), ("dets", "float32", 4, ROWS, 5)], "at this batch size"),
        ([("labels", "int64", BATCH, ROWS), ("dets", "float16", BATCH, ROWS, 5)], "--output_type"),
        ([("a", "int64", BATCH, ROWS), ("b", "int64", BATCH, ROWS)], "ascend ending"),
        ([("dets", "int64", BATCH, ROWS), ("labels", "float32", BATCH, ROWS, 5)], "ascend ending"),
        ([("x", "int64", BATCH, ROWS), ("x", "float32", BATCH, ROWS, 5)], "of one name"),
    ],
    ids=["one", "batch4", "fp16", "two-labels", "swapped-names", "duplicates"],
)
def test_an_om_with_other_outputs_is_refused(new_fake, describe, om, contract, outputs, advice):
    """Found and expected are both named before any batch runs, and the device memory is given back."""
    new_fake.outputs = [describe(*spec) for spec in outputs]
    with pytest.raises(SessionError, match=r"has the outputs .* expected 'labels' int64\[2, 5\]") as caught:
        OmSession(om, contract, BATCH)
    assert advice in caught.value.advice
    assert new_fake.freed == 1


@pytest.mark.parametrize(
    ("inputs", "advice"),
    [
        ([("image", "float32", BATCH, 3, 4, 6)], "this contract"),
        ([("input", "float32", 4, 3, 4, 6)], "at this batch size"),
        ([("input", "float32", BATCH, 4, 6, 3)], "this contract"),
        ([("input", "uint8", BATCH, 4, 6, 3)], "AIPP"),
        ([("input", "float32", BATCH, 3, -1, -1)], "only the batch size may be dynamic"),
        ([("input", "float32", BATCH, 3, 4, 6), ("extra", "int32", 1)], "this contract"),
        ([], "this contract"),
    ],
    ids=["name", "batch4", "nhwc", "aipp", "dynamic", "two", "none"],
)
def test_an_om_with_another_input_is_refused(new_fake, describe, om, contract, inputs, advice):
    """aclruntime itself compares byte counts only, so that NHWC data would run and give garbage."""
    new_fake.inputs = [describe(*spec) for spec in inputs]
    with pytest.raises(SessionError, match=r"expected 'input' float32\[2, 3, 4, 6\] \(576 bytes\)") as caught:
        OmSession(om, contract, BATCH)
    assert advice in caught.value.advice
    assert new_fake.freed == 1


def test_an_input_with_another_byte_count_is_refused(new_fake, om, contract):
    """Name, dtype and shape may agree while the size does not."""
    new_fake.inputs[0].size *= 2
    with pytest.raises(SessionError, match=r"\(1152 bytes\)"):
        OmSession(om, contract, BATCH)


def test_an_om_with_aipp_takes_bytes(new_fake, describe, om, contract):
    """uint8 NHWC goes to the device as it is; outputs are those of any other OM."""
    new_fake.inputs = [describe("input", "uint8", BATCH, 4, 6, 3)]
    new_fake.inputs[0].format = NHWC
    batch = np.arange(BATCH * 4 * 6 * 3, dtype=np.uint8).reshape(BATCH, 4, 6, 3)
    with OmSession(om, contract, BATCH, layout=UINT8) as session:
        outputs = session.run(batch)
    assert session.layout is UINT8
    assert new_fake.fed == [batch.tobytes()]
    np.testing.assert_array_equal(outputs.dets, new_fake.dets)


@pytest.mark.parametrize(
    ("given", "layout"),
    [
        (("input", "float32", BATCH, 3, 4, 6), 0),
        (("input", "uint8", BATCH, 3, 4, 6), 0),
        (("input", "uint8", BATCH, 4, 6, 3), 0),
        (("input", "uint8", BATCH, 3, 4, 6), NHWC),
        (("input", "uint8", BATCH, 4, 6, 4), NHWC),
    ],
    ids=["float", "nchw", "no-format", "planes", "four-channels"],
)
def test_an_om_without_the_expected_aipp_is_refused(new_fake, describe, om, contract, given, layout):
    """Type, shape and format have to be what AIPP makes of the input."""
    new_fake.inputs = [describe(*given)]
    new_fake.inputs[0].format = layout
    with pytest.raises(SessionError, match=r"expected 'input' uint8\[2, 4, 6, 3\] NHWC \(144 bytes\)") as caught:
        OmSession(om, contract, BATCH, layout=UINT8)
    assert "--insert_op_conf" in caught.value.advice
    assert new_fake.freed == 1


@pytest.mark.parametrize("change", ["planes", "float", "signed"])
def test_a_wrong_batch_for_aipp_never_reaches_the_device(new_fake, describe, om, contract, change):
    """Planes have the right number of bytes: aclruntime would run them and return garbage."""
    new_fake.inputs = [describe("input", "uint8", BATCH, 4, 6, 3)]
    new_fake.inputs[0].format = NHWC
    wrong = {
        "planes": np.zeros((BATCH, 3, 4, 6), np.uint8),
        "float": np.zeros((BATCH, 3, 4, 6), np.float32),
        "signed": np.zeros((BATCH, 4, 6, 3), np.int8),
    }[change]
    with OmSession(om, contract, BATCH, layout=UINT8) as session, pytest.raises(SessionError, match="input 'input'"):
        session.run(wrong)
    assert new_fake.fed == []


@pytest.fixture
def places(describe):
    """Where the taps `a` and `b` are among outputs of these names, types and batch sizes."""

    def find(*outputs):
        descs = [describe(name, dtype, size, 4) for name, dtype, size in outputs]
        session = SimpleNamespace(get_inputs=list, get_outputs=lambda: descs)
        return tap_places(read_tensors(session, BATCH)[1], ["a", "b"], BATCH, Path("x.om"))

    return find


def test_taps_are_found_by_their_names_or_as_the_last_outputs(places):
    """atc keeps the ONNX's names behind its own; without them, the order is the one in which they were asked for."""
    assert places(*((name, "float32", 2) for name in ("Conv_1:0:b", "Conv_2:0:labels", "Conv_3:0:a"))) == {
        "a": 2,
        "b": 0,
    }
    assert places(*((f"Conv_{number}:0", "float32", 2) for number in range(3))) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "outputs",
    [[("a", "float32", 2)], [("a", "int64", 2), ("b", "float32", 2)], [("a", "float32", 1), ("b", "float32", 2)], []],
    ids=["one missing", "wrong type", "wrong batch size", "none"],
)
def test_an_om_without_its_taps_is_refused(places, outputs):
    """With the name that was looked for."""
    with pytest.raises(SessionError, match=r"none is '[ab]'"):
        places(*((f"x:0:{name}", dtype, size) for name, dtype, size in outputs))
