"""Reports of atc and ONNX models are counted, or say in words why they cannot be."""

import re

import onnx
import pytest
from onnx import TensorProto, helper

from fcos_lib.measure.cost import compile_reports
from fcos_lib.measure.cost.compile_reports import fusions, om_operators, onnx_operators

BROKEN_OMS = {
    "": "it is not JSON (Expecting value",
    "{": "it is not JSON (Expecting property name",
    "[" * 100_000: "it is not JSON (",
    "null": "it is None, not an object",
    "[]": "it is [], not an object",
    "{}": "'graph' is None, not a list",
    '{"graph": {}}': "'graph' is {}, not a list",
    '{"graph": [[]]}': "a graph is [], not an object",
    '{"graph": [{"op": 1}]}': "'op' is 1, not a list",
    '{"graph": [{"op": [1]}]}': "an operator is 1, not an object",
    '{"graph": [{"op": [{"type": 1}]}]}': "an operator has the type 1",
    '{"graph": [{"op": [{"type": "A", "attr": 1}]}]}': "'attr' is 1, not a list",
    '{"graph": [{"op": []}]}': "it has no operators",
    '{"graph": [{}]}': "it has no operators",
}
BROKEN_FUSIONS = {
    "": "it is not JSON (Expecting value",
    "[]": "it is [], not an object",
    "{}": "it names no rule",
    '{"a": {}}': "it names no rule",
    '{"a": 1}': "a graph is 1, not an object",
    '{"a": {"graph_fusion": []}}': "graph_fusion is [], not an object",
    '{"a": {"graph_fusion": {"r": 1}}}': "the rule r is 1, not an object",
    '{"a": {"ub_fusion": {"r": {}}}}': "the rule r took effect None times",
    '{"a": {"ub_fusion": {"r": {"effect_times": 3}}}}': "the rule r took effect 3 times",
    '{"a": {"ub_fusion": {"r": {"effect_times": "-3"}}}}': "the rule r took effect '-3' times",
    '{"a": {"ub_fusion": {"r": {"effect_times": "1234567890"}}}}': "the rule r took effect '1234567890' times",
}


def written(folder, content):
    """A report with this text or these bytes."""
    path = folder / "report"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("read", "broken", "words"),
    [(om_operators, *each) for each in BROKEN_OMS.items()] + [(fusions, *each) for each in BROKEN_FUSIONS.items()],
    ids=lambda value: getattr(value, "__name__", value)[:40],
)
def test_a_broken_report_is_refused_in_words(tmp_path, read, broken, words):
    """Times of a fusion are text with up to nine digits; a report without an operator or a rule reports nothing."""
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        read(written(tmp_path, broken))


def test_a_fusion_may_take_effect_often(tmp_path):
    """Nine digits are read."""
    assert fusions(written(tmp_path, '{"a": {"ub_fusion": {"r": {"effect_times": "987654321"}}}}')) == {
        "r": 987_654_321
    }


def test_a_report_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    """It could fill the memory. One of exactly the largest size is read."""
    report = '{"graph": [{"op": [{"type": "Cast"}]}]}'
    monkeypatch.setattr(compile_reports, "_READ_LIMIT", len(report))
    assert om_operators(written(tmp_path, report)).kinds == {"Cast": 1}
    with pytest.raises(ValueError, match=r"^it is not JSON \(larger than 0 MiB\)$"):
        om_operators(written(tmp_path, report + " "))


def test_a_name_in_another_encoding_is_read_over(tmp_path):
    """What counts are the types, which are ASCII."""
    report = written(tmp_path, '{"name": "modèle", "graph": [{"op": [{"type": "Cast"}]}]}'.encode("latin-1"))
    assert om_operators(report).kinds == {"Cast": 1}


@pytest.mark.parametrize(("content", "words"), [(b"no model", "it is no ONNX model"), (b"", "it has no operators")])
def test_a_broken_onnx_is_refused_in_words(tmp_path, content, words):
    """Whatever protobuf makes of it."""
    with pytest.raises(ValueError, match=f"^{words}$"):
        onnx_operators(written(tmp_path, content))


def test_an_onnx_needs_no_weights_to_be_counted(tmp_path):
    """They may be in another file, which is not looked for."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    model = helper.make_model(helper.make_graph([helper.make_node("Add", ["x", "w"], ["x"])], "g", [value], [value]))
    weight = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[2])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="nowhere.bin")
    onnx.save(model, tmp_path / "external.onnx")
    assert onnx_operators(tmp_path / "external.onnx") == {"Add": 1}
