"""Every figure of an OM's cost comes from a documented source, and is absent rather than 0 without it."""

import json
import math
import re
from dataclasses import replace

import onnx
import pytest
from onnx import TensorProto, helper

from fcos_lib.contract import COCO_R50, SHAPES, InputLayout
from fcos_lib.errors import UsageError
from fcos_lib.measure import Measurement
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
    Cost,
    against,
    cost_of_dict,
    om_cost,
    recipe_differences,
)

GATES = ["cost.om_size", "cost.bytes_per_picture", "cost.om_operators", "cost.casts", "cost.transdata", "cost.ai_cpu"]
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
    """Operators that only hold tensors are no cost; both AI CPU engines count; fusions add up over graphs and kinds.

    With each figure stands how many files, pictures, operators or rules are behind it.
    """
    assert {name: (one.value, one.n) for name, one in full.figures.items()} == {
        OM_SIZE: (1000, 1),
        BYTES: (4 * 3 * 256 * 427 + 2800, 1),
        OM_OPERATORS: (6, 6),
        CASTS: (1, 6),
        TRANSDATA: (1, 6),
        AI_CPU: (2, 6),
        FUSIONS: (6, 2),
        ONNX_OPERATORS: (3, 3),
    }
    assert {name: one.unit for name, one in full.figures.items()} == FIGURES
    assert all(name == one.name for name, one in full.figures.items())
    assert full.absent == {}


def test_details_name_the_operators_and_rules(full):
    """So that a difference can be explained without atc."""
    assert full.figures[OM_SIZE].where == "model.om: 1,000 B"
    assert full.figures[BYTES].where == "1,311,744 B of float32 NCHW in, 2,800 B out"
    assert full.figures[BYTES].details == {"input": 1_311_744, "outputs": 2_800, "layout": "float32 NCHW"}
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
    figures = cost_of(document).figures
    assert (figures[OM_OPERATORS].value, figures[AI_CPU].value) == (18, 6)
    assert figures[OM_OPERATORS].details["made of several"] == 6


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


@pytest.mark.parametrize(
    ("report", "figure", "source"),
    [("graph", OM_OPERATORS, "the OM as JSON (atc --mode=1)"), ("fused", FUSIONS, "atc's fusion_result.json")],
)
def test_a_broken_report_is_no_figure(cost_of, report, figure, source):
    """Nor an exception. What may be broken in one: test_compile_reports.py."""
    assert cost_of(**{report: "[7]"}).absent[figure] == f"{source} cannot be read: it is [7], not an object"


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
    """A mistake of the caller, as an empty file is."""
    (tmp_path / "empty.om").touch()
    for name in ("none.om", "empty.om"):
        with pytest.raises(UsageError, match=f"no OM at {tmp_path / name}"):
            om_cost(tmp_path / name, tmp_path / "x", SHAPES, InputLayout.FLOAT_NCHW, {})


def test_an_om_costs_what_it_costs(full):
    """Against itself every difference is 0, and the recipe is said to be the same."""
    compared = against(full, full)
    assert {one.name: one.value for one in compared} == {
        f"{name} against champion": 0 for name in (OM_SIZE, BYTES, OM_OPERATORS, CASTS, TRANSDATA, AI_CPU)
    }
    assert all(one.where.endswith("; the recipe is the same") for one in compared)
    assert [one.n for one in compared] == [1, 1, 6, 6, 6, 6], "operators or files behind each figure"
    assert [one.unit for one in compared] == ["%", "%", *["operators"] * 4]
    assert [one.gate for one in compared] == GATES
    assert (full.recorded().gate, full.recorded().value) == ("cost.recorded", 1000)


def test_differences_are_named_by_type_fusion_and_recipe(cost_of, full):
    """More Casts because rules no longer fire under another CANN: the reader sees all of it in one line."""
    fused = json.loads(json.dumps(FUSED))
    fused["session_and_graph_id_0_0"]["ub_fusion"] |= {"ConvB": {"effect_times": "1"}, "New": {"effect_times": "5"}}
    del fused["session_and_graph_id_1_1"]
    operators = [each for each in OPERATORS if each["type"] != "NonZero"]
    operators += [operator("Cast"), operator("Cast")]
    now = cost_of(om_document(*operators), fused, size=1020, cann="8.3.RC1", precision_mode="fp32")
    by_name = {one.name.removesuffix(" against champion"): one for one in against(now, full)}
    values = {name: one.value for name, one in by_name.items()}
    assert values == {OM_SIZE: pytest.approx(2.0), BYTES: 0, OM_OPERATORS: 1, CASTS: 2, TRANSDATA: 0, AI_CPU: -1}
    recipe = ["cann 8.0.0 → 8.3.RC1", "precision_mode force_fp16 → fp32"]
    made = f"; made differently: {'; '.join(recipe)}"
    changes = "(Cast +2, NonZero -1); fewer fusions: ConvA -1, ConvB -2"
    assert by_name[OM_OPERATORS].where == f"7 operators, the champion's 6 {changes}{made}"
    assert by_name[OM_OPERATORS].details == {
        "challenger": 7,
        "champion": 6,
        "recipe": recipe,
        "by type": {"Cast": 2, "NonZero": -1},
        "fewer fusions": {"ConvA": -1, "ConvB": -2},
    }
    assert by_name[CASTS].where == f"3 operators, the champion's 1{made}"
    assert by_name[OM_SIZE].where == f"1,020 B, the champion's 1,000{made}"
    assert by_name[OM_SIZE].details == {"challenger": 1020, "champion": 1000, "recipe": recipe, "cost": now.as_dict()}


def test_a_figure_that_went_missing_is_not_a_difference_of_0(cost_of, full):
    """n = 0 and no number, so that no limit holds."""
    by_name = {one.name: one for one in against(cost_of(), full)}
    lost = by_name["OM operators against champion"]
    assert (lost.n, lost.unit, lost.gate, math.isnan(lost.value)) == (0, "operators", "cost.om_operators", True)
    reason = "the OM as JSON (atc --mode=1) is not there"
    assert lost.where == f"the champion has 6; here unknown: {reason}; the recipe is the same"
    assert [one.gate for one in by_name.values()] == GATES


def test_what_the_champion_lacks_is_left_out(cost_of, full):
    """The figures behind it are compared; without fusions on a side, none are fewer."""
    counts = {name: figure for name, figure in full.figures.items() if name != CASTS}
    assert [one.gate for one in against(full, replace(full, figures=counts))] == [
        gate for gate in GATES if gate != "cost.casts"
    ]
    without = cost_of(om_document(*OPERATORS))
    for challenger, champion in ((without, full), (full, without)):
        (operators,) = [one for one in against(challenger, champion) if one.gate == "cost.om_operators"]
        assert operators.where == "6 operators, the champion's 6; the recipe is the same"


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


@pytest.mark.parametrize(
    ("value", "words"),
    [("x", "x"), ("", "''"), ("y" * 40, "y" * 40), ("z" * 41, "'zzzzzzzzzzzz'"), (["a", 1], '["a", 1]')],
    ids=["one letter", "empty", "40 letters", "41 letters", "list"],
)
def test_values_of_a_recipe_are_short(value, words):
    """A hash would fill the line; nothing at all would not be seen."""
    assert recipe_differences({"extra": value}, {}) == [f"extra unknown → {words}"]


def test_a_cost_survives_json(cost_of, full):
    """It is kept with the champion, and so is what it lacks."""
    for cost in (full, cost_of()):
        again = cost_of_dict(json.loads(json.dumps(cost.as_dict())))
        assert again == cost
        assert cost_of_dict(cost.recorded().details["cost"]) == cost


def test_what_a_stored_cost_does_not_have_is_empty():
    """Another version wrote it; none of a kind is a figure like others, and long text is cut."""
    stored = {"figures": {OM_SIZE: {"value": 7, "n": 1}, AI_CPU: {"value": 0, "n": 5, "where": "w" * 1001}}}
    figures = {
        OM_SIZE: Measurement(OM_SIZE, 7, "B", 1),
        AI_CPU: Measurement(AI_CPU, 0, "operators", 5, "w" * 1000),
    }
    assert cost_of_dict(stored) == Cost(figures, {}, {})
    assert cost_of_dict(stored | {"absent": {CASTS: "y" * 1001}}).absent == {CASTS: "y" * 1000}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.pop("figures"), "its figures is None, not an object"),
        (lambda data: data["figures"].pop(OM_SIZE), "it has no OM size"),
        (lambda data: data["figures"].update({CASTS: 4}), "Cast operators is 4, not an object"),
        (lambda data: data["figures"][OM_SIZE].update(value=0), "OM size is 0 of 1"),
        (lambda data: data["figures"][CASTS].update(value="1"), "Cast operators is '1'"),
        (lambda data: data["figures"][CASTS].update(value=True), "Cast operators is True"),
        (lambda data: data["figures"][CASTS].update(value=-1), "Cast operators is -1"),
        (lambda data: data["figures"][CASTS].update(value=float("nan")), "Cast operators is nan"),
        (lambda data: data["figures"][CASTS].update(value=float("inf")), "Cast operators is inf"),
        (lambda data: data["figures"][CASTS].update(n=True), "Cast operators is 1 of True"),
        (lambda data: data["figures"][CASTS].update(n=0), "Cast operators is 1 of 0"),
        (lambda data: data["figures"][CASTS].update(details=[]), "the details of Cast operators is [], not an object"),
        (lambda data: data.update(absent=5), "what is absent is 5, not an object"),
        (lambda data: data.update(recipe=3), "the recipe is 3, not an object"),
    ],
)
def test_a_foreign_cost_is_refused_in_words(full, change, words):
    """What comes from a file is checked."""
    data = json.loads(json.dumps(full.as_dict()))
    change(data)
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        cost_of_dict(data)
    with pytest.raises(ValueError, match=r"^the cost is 3, not an object$"):
        cost_of_dict(3)


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
