"""Every figure of an OM's cost comes from a documented source, and is absent rather than 0 without it."""

import json
import math
from dataclasses import replace

import onnx
import pytest
from onnx import TensorProto, helper

from fcos_lib.contract import COCO_R50, SHAPES, InputLayout
from fcos_lib.errors import UsageError
from fcos_lib.measure.cost.operators import (
    AI_CPU,
    BYTES,
    CASTS,
    FIGURES,
    FUSIONS,
    OM_OPERATORS,
    OM_SIZE,
    ONNX_OPERATORS,
    TRANSDATA,
    against,
    cost_of_dict,
    om_cost,
    recipe_differences,
)

RECIPE = {"cann": "8.0.0", "onnx": "ab" * 32, "precision_mode": "force_fp16", "extra": []}


def operator(kind, engine="AIcoreEngine", originals=1):
    """One operator as `atc --mode=1` writes it."""
    attributes = [{"key": "_datadump_original_op_names", "value": {"list": {"s": ["a", "b", "c"][:originals]}}}]
    if engine:
        attributes.append({"key": "_ge_attr_op_kernel_lib_name", "value": {"s": engine}})
    return {"name": kind, "type": kind, "attr": attributes}


def om_document(*operators):
    """An OM as JSON with one graph."""
    return {"name": "model", "attr": [], "graph": [{"name": "graph", "op": list(operators)}]}


OPERATORS = (
    operator("Data", None),
    operator("Const", None),
    operator("TransData"),
    operator("Conv2D", originals=3),
    operator("Conv2D", originals=2),
    operator("Cast"),
    operator("GatherV2", "aicpu_ascend_kernel"),
    operator("NonZero", "aicpu_tf_kernel"),
    operator("NetOutput", None),
)
FUSED = {
    "session_and_graph_id_0_0": {
        "graph_fusion": {"ConvA": {"effect_times": "2", "match_times": "3"}},
        "ub_fusion": {"ConvB": {"effect_times": "3", "match_times": "3", "repository_hit_times": "0"}},
    },
    "session_and_graph_id_1_1": {"graph_fusion": {"ConvA": {"effect_times": "1", "match_times": "1"}}},
}


@pytest.fixture
def cost_of(tmp_path):
    """The cost of an OM of 1,000 bytes with the given reports (documents, text, or None for no file)."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    nodes.append(helper.make_node("Cast", ["z"], ["c"], to=TensorProto.FLOAT16))
    result = helper.make_tensor_value_info("c", TensorProto.FLOAT16, [1])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [value], [result])), tmp_path / "ascend.onnx")

    def written(name, content):
        path = tmp_path / name
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def cost(graph=None, fused=None, size=1000, layout=InputLayout.FLOAT_NCHW, contract=SHAPES, **recipe):
        (tmp_path / "model.om").write_bytes(bytes(size))
        return om_cost(
            tmp_path / "model.om", tmp_path / "ascend.onnx", contract, layout, RECIPE | recipe,
            fusion_report=written("fusion_result.json", fused), graph=written("model.json", graph),
        )  # fmt: skip

    return cost


@pytest.fixture
def full(cost_of):
    """The cost with every report there."""
    return cost_of(om_document(*OPERATORS), FUSED)


def test_every_figure_is_counted_from_its_source(full):
    """Operators that only hold tensors are no cost; both AI CPU engines count; fusions add up over graphs and kinds."""
    assert {name: one.value for name, one in full.figures.items()} == {
        OM_SIZE: 1000,
        BYTES: 4 * 3 * 256 * 427 + 2800,
        OM_OPERATORS: 6,
        CASTS: 1,
        TRANSDATA: 1,
        AI_CPU: 2,
        FUSIONS: 6,
        ONNX_OPERATORS: 3,
    }
    assert {name: one.unit for name, one in full.figures.items()} == FIGURES
    assert full.absent == {}


def test_details_name_the_operators_and_rules(full):
    """So that a difference can be explained without atc."""
    operators = full.figures[OM_OPERATORS].details
    assert operators["by type"] == {"Cast": 1, "Conv2D": 2, "GatherV2": 1, "NonZero": 1, "TransData": 1}
    assert operators["made of several"] == 2
    assert full.figures[AI_CPU].details["by type"] == {"GatherV2": 1, "NonZero": 1}
    assert full.figures[FUSIONS].details["by type"] == {"ConvA": 3, "ConvB": 3}
    assert full.figures[ONNX_OPERATORS].details["by type"] == {"Cast": 1, "Relu": 2}


def test_operators_of_all_graphs_count(cost_of):
    """An OM with several batch sizes has a graph for each."""
    document = om_document(*OPERATORS)
    document["graph"] *= 3
    assert cost_of(document).figures[OM_OPERATORS].value == 18


@pytest.mark.parametrize(
    ("layout", "expected"), [(InputLayout.FLOAT_NCHW, 12_796_800 + 2_800), (InputLayout.UINT8_NHWC, 3_199_200 + 2_800)]
)
def test_bytes_per_picture_are_those_of_the_layout(cost_of, layout, expected):
    """The recipe's input is 12,796,800 bytes, with AIPP a quarter; labels and dets are 800 and 2,000."""
    assert cost_of(layout=layout, contract=COCO_R50).figures[BYTES].value == expected


def test_without_reports_the_figures_are_absent_and_said_to_be(cost_of):
    """An older CANN writes none: nothing is 0, and each missing figure has its reason."""
    cost = cost_of()
    assert set(cost.figures) == {OM_SIZE, BYTES, ONNX_OPERATORS}
    assert set(cost.absent) == {OM_OPERATORS, CASTS, TRANSDATA, AI_CPU, FUSIONS}
    assert cost.absent[FUSIONS] == "atc's fusion_result.json is not there"


def test_without_engines_nothing_is_said_of_the_ai_cpu(cost_of):
    """An OM whose operators name no engine may have any number of them."""
    cost = cost_of(om_document(operator("Conv2D", None)))
    assert cost.figures[OM_OPERATORS].value == 1
    assert cost.absent[AI_CPU] == "the OM as JSON (atc --mode=1) does not say"


BROKEN_OMS = (
    "", "{", "[" * 100_000, "null", "[]", "{}", '{"graph": {}}', '{"graph": [[]]}', '{"graph": [{"op": 1}]}',
    '{"graph": [{"op": [1]}]}', '{"graph": [{"op": [{"type": 1}]}]}', '{"graph": [{"op": [{"type": "A", "attr": 1}]}]}',
    '{"graph": [{"op": []}]}',
)  # fmt: skip
BROKEN_FUSIONS = (
    "", "[]", "{}", '{"a": 1}', '{"a": {"graph_fusion": []}}', '{"a": {"graph_fusion": {"r": 1}}}',
    '{"a": {"ub_fusion": {"r": {}}}}', '{"a": {"ub_fusion": {"r": {"effect_times": 3}}}}',
    '{"a": {"ub_fusion": {"r": {"effect_times": "-3"}}}}', '{"a": {"ub_fusion": {"r": {"effect_times": "' + "9" * 5000 + '"}}}}',
)  # fmt: skip


@pytest.mark.parametrize(
    ("report", "figure", "broken"),
    [("graph", OM_OPERATORS, text) for text in BROKEN_OMS] + [("fused", FUSIONS, text) for text in BROKEN_FUSIONS],
)
def test_a_broken_report_is_no_figure(cost_of, report, figure, broken):
    """Nor an exception. Times of a fusion are text with digits; a report without a rule reports nothing."""
    assert "cannot be read: " in cost_of(**{report: broken}).absent[figure]


@pytest.mark.parametrize(
    "odd", [[1, None], [{"key": 1, "value": 2}], [{"value": {"s": "aicpu"}}], [{"key": "_ge_attr_op_kernel_lib_name"}]]
)
def test_attributes_that_mean_nothing_here_are_passed_over(cost_of, odd):
    """CANN writes dozens of them in many forms."""
    cost = cost_of(om_document({"name": "x", "type": "Conv2D", "attr": odd}))
    assert cost.figures[OM_OPERATORS].value == 1
    assert AI_CPU in cost.absent


def test_a_broken_onnx_is_no_figure(cost_of, tmp_path):
    """The OM may have come without it."""
    (tmp_path / "ascend.onnx").write_bytes(b"no model")
    assert cost_of().absent[ONNX_OPERATORS] == "the ONNX cannot be read: it is no ONNX model"


def test_without_an_om_there_is_no_cost(tmp_path):
    """A mistake of the caller."""
    with pytest.raises(UsageError, match="no OM at"):
        om_cost(tmp_path / "none.om", tmp_path / "x", SHAPES, InputLayout.FLOAT_NCHW, {})


def test_an_om_costs_what_it_costs(full):
    """Against itself every difference is 0, and the recipe is said to be the same."""
    compared = against(full, full)
    assert {one.name: one.value for one in compared} == {
        f"{name} against champion": 0 for name in (OM_SIZE, BYTES, OM_OPERATORS, CASTS, TRANSDATA, AI_CPU)
    }
    assert all(one.where.endswith("; the recipe is the same") for one in compared)
    counts = [one.n for one in compared]
    assert min(counts) > 0, f"figures stand on {counts} operators or files"
    assert [one.unit for one in compared] == ["%", "%", *["operators"] * 4]


def test_differences_are_named_by_type_fusion_and_recipe(cost_of, full):
    """More Casts because a rule no longer fires under another CANN: the reader sees all three in one line."""
    fused = json.loads(json.dumps(FUSED))
    fused["session_and_graph_id_0_0"]["ub_fusion"]["ConvB"]["effect_times"] = "1"
    now = cost_of(om_document(*OPERATORS, operator("Cast"), operator("Cast")), fused, size=1020, cann="8.3.RC1")
    by_name = {one.name.removesuffix(" against champion"): one for one in against(now, full)}
    assert by_name[OM_SIZE].value == pytest.approx(2.0)
    assert (by_name[OM_OPERATORS].value, by_name[CASTS].value, by_name[TRANSDATA].value) == (2, 2, 0)
    assert by_name[OM_OPERATORS].where == (
        "8 operators, the champion's 6 (Cast +2); fewer fusions: ConvB -2; made differently: cann 8.0.0 → 8.3.RC1"
    )


def test_a_figure_that_went_missing_is_not_a_difference_of_0(cost_of, full):
    """n = 0 and no number, so that no limit holds; the champion's own gaps are left out."""
    by_name = {one.name: one for one in against(cost_of(), full)}
    lost = by_name["Cast operators against champion"]
    assert lost.n == 0
    assert math.isnan(lost.value)
    assert "here unknown: the OM as JSON (atc --mode=1) is not there" in lost.where
    assert [one.name for one in against(full, cost_of())] == [
        f"{OM_SIZE} against champion",
        f"{BYTES} against champion",
    ]


def test_recipes_of_oms_from_elsewhere_are_comparable(cost_of):
    """Their provenance has other names for CANN and ONNX; what one of the two does not say is unknown."""
    here = cost_of().recipe
    assert recipe_differences(here, here) == []
    there = {"cann": "8.0.0", "onnx": "cd" * 32, "precision_mode": "force_fp32"}
    assert recipe_differences(there, here) == [
        "onnx 'abababababab' → 'cdcdcdcdcdcd'",
        "precision_mode force_fp16 → force_fp32",
        "extra [] → unknown",
    ]


def test_a_cost_survives_json(full):
    """It is kept with the champion."""
    again = cost_of_dict(json.loads(json.dumps(full.as_dict())))
    assert again == full
    assert cost_of_dict(full.recorded().details["cost"]) == full


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("figures"),
        lambda data: data["figures"].pop(OM_SIZE),
        lambda data: data["figures"][OM_SIZE].update(value=0),
        lambda data: data["figures"][CASTS].update(value="1"),
        lambda data: data["figures"][CASTS].update(value=float("nan")),
        lambda data: data["figures"][CASTS].update(n=True),
        lambda data: data["figures"][CASTS].update(details=[]),
        lambda data: data.update(recipe=3),
    ],
    ids=["figures", "size", "zero", "text", "nan", "count", "details", "recipe"],
)
def test_a_foreign_cost_is_refused_in_words(full, change):
    """What comes from a file is checked."""
    data = json.loads(json.dumps(full.as_dict()))
    change(data)
    with pytest.raises(ValueError, match=r"is |has no"):
        cost_of_dict(data)


def test_odd_details_are_no_trouble(full):
    """Counts that are no numbers explain nothing and break nothing."""
    figures = dict(full.figures)
    figures[OM_OPERATORS] = replace(figures[OM_OPERATORS], details={"by type": {"Cast": "many"}})
    (operators,) = [one for one in against(full, replace(full, figures=figures)) if one.name.startswith(OM_OPERATORS)]
    assert operators.value == 0


def test_the_emulators_reports_are_read(tmp_path, monkeypatch, capfd):
    """From `atc` to figures: the report of its compilation, and its OM as JSON."""
    from fcos_lib.emulator import atc

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FCOS_EMULATOR", raising=False)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in ("input", "out")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 3, 1, 1], [0.5] * 9)
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], "Conv_0", kernel_shape=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "Relu_1"),
        helper.make_node("Exp", ["r"], ["out"], "Exp_2"),
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), "a.onnx")
    arguments = ["--framework=5", "--model=a.onnx", "--output=model", "--soc_version=Ascend310P3"]
    assert atc.main([*arguments, "--input_shape=input:1,3,4,4"]) == 0
    assert atc.main(["--mode=1", "--om=model.om", "--json=model.json"]) == 0
    cost = om_cost(
        tmp_path / "model.om", tmp_path / "a.onnx", SHAPES, InputLayout.FLOAT_NCHW, {},
        fusion_report=tmp_path / "fusion_result.json", graph=tmp_path / "model.json",
    )  # fmt: skip
    assert cost.absent == {}
    assert cost.figures[OM_OPERATORS].details["by type"] == {"Conv2D": 1, "Exp": 1, "TransData": 1}
    assert (cost.figures[FUSIONS].value, cost.figures[AI_CPU].value, cost.figures[CASTS].value) == (1, 0, 0)
