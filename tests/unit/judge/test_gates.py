"""Every gate is in the catalogue, its test is there, its limits are there, and a measurement meets its limit by key alone."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from fcos_lib.contract import CONTRACTS
from fcos_lib.errors import FcosError, UsageError
from fcos_lib.judge.gate import AT_LEAST, PUBLISHED_FOR, Scope, catalogue, family
from fcos_lib.judge.gates import GATES
from fcos_lib.judge.limits import FILE, Limit, all_limits, limit_of
from fcos_lib.judge.limits_file import check_limits, expected_limits
from fcos_lib.judge.verdict import Outcome, judge_gate, paragraph
from fcos_lib.measure import Measurement

ROOT = Path(__file__).parents[3]
SHAPES = Scope("shapes", batch=4)


def test_every_gate_names_a_test_that_is_there():
    """A gate whose test was renamed would be missing from every run."""
    for gate in GATES.values():
        file, _, name = gate.test.partition("::")
        tree = ast.parse((ROOT / "tests" / "acceptance" / file).read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names, f"gate {gate.key} is judged by {gate.test}, which is not there"


def test_a_family_shares_what_its_gates_have_in_common():
    """Their key, name, unit and direction are their own, and the limit ends as the key does."""
    base = replace(GATES["bias.size"], limit="bias.{contract}.{name}")
    (gate,) = family(base, ("bias.of.height", "height bias", "px", AT_LEAST))
    own = {"key": "bias.of.height", "name": "height bias", "unit": "px", "direction": AT_LEAST}
    assert gate == replace(base, **own, limit="bias.{contract}.height")
    assert catalogue(base, gate) == {"bias.size": base, "bias.of.height": gate}
    with pytest.raises(ValueError, match=r"^two gates of the catalogue have the same key$"):
        catalogue(base, gate, base)


def test_every_key_in_the_sources_is_in_the_catalogue():
    """A key that is spelled wrong would be found by the run that uses it; this finds it before."""
    families = {key.partition(".")[0] for key in GATES}
    spelled = re.compile(rf"\"((?:{'|'.join(families)})\.\w+)\"")
    sources = [*(ROOT / "fcos_lib" / "measure").rglob("*.py"), *(ROOT / "tests" / "acceptance").glob("*.py")]
    used = {key for path in sources for key in spelled.findall(path.read_text(encoding="utf-8"))}
    unknown = {key for key in used if key not in GATES and not key.endswith((".npz", ".onnx", ".json"))}
    assert not unknown, f"keys that no gate has: {sorted(unknown)}"


def test_the_limits_file_has_what_the_catalogue_wants():
    """For each contract, and nothing else; what one takes from another, it need not have itself."""
    for contract in CONTRACTS.values():
        check_limits(all_limits(), contract.name, contract.limits_of)
        missing = expected_limits(contract.limits_of or contract.name).keys() - all_limits().keys()
        assert not missing, f"limits.toml lacks {sorted(missing)} for {contract.name}"


def changed(name, **fields):
    """The limits file with one limit changed."""
    return all_limits() | {name: structs.replace(all_limits()[name], **fields)}


def without(name):
    """The limits file without one limit."""
    return {key: limit for key, limit in all_limits().items() if key != name}


def renamed(name, other):
    """The limits file with one limit under another name."""
    return without(name) | {other: structs.replace(all_limits()[name], name=other)}


@pytest.mark.parametrize(
    ("limits", "contract", "words"),
    [
        (renamed("bias.shapes.size", "bias.shapes.siez"), "shapes", "[bias.shapes.siez], which no gate knows; the nearest is [bias.shapes.size]"),
        (renamed("accuracy.shapes.mAP", "accuracy.shaeps.mAP"), None, "the nearest is [accuracy.shapes.mAP]"),
        (renamed("proposals.shapes.cosine_boxes", "candidates.shapes.cosine_boxes"), "shapes", "the nearest is [proposals.shapes.cosine_boxes]"),
        (renamed("inputs.wrong", "inputs.wrogn"), None, "the nearest is [inputs.wrong]"),
        (without("bias.shapes.size"), "shapes", "lacks [bias.shapes.size], so"),
        (without("inputs.wrong"), None, "lacks [inputs.wrong]"),
        (without("rate_against_champion.step"), None, "lacks [rate_against_champion.step], so"),
        ({name: limit for name, limit in all_limits().items() if name not in ("inputs.wrong", "rate_against_champion.step")}, None,
         "lacks [inputs.wrong] and 1 more, so"),
        (without("throughput.coco_r50.Ascend310P3.batch8.slower"), "coco_r50", "batch8.slower]"),
        (changed("bias.shapes.size", at_least=True), None, "'at least' in log ratio, and its gate is 'at most'"),
        (changed("paired.shapes.loss", unit="%"), None, "in %, and its gate is 'at least' in AP"),
        (changed("rate_against_history.slower", at_least=False), None, "as 'at most' in %, and its gate is 'at least' in %"),
        (changed("accuracy.shapes.mAP", pictures=None), None, "does not say for which pictures [accuracy.shapes.mAP] is a limit"),
    ],
    ids=["typo", "contract", "older_name", "family", "hole", "common_hole", "setting", "two_holes", "published", "direction", "unit", "setting_flipped", "any_pictures"],
)  # fmt: skip
def test_a_limits_file_that_does_not_fit_is_refused(limits, contract, words):
    """Each of these let a gate pass whatever was measured."""
    with pytest.raises(UsageError) as error:
        check_limits(limits, contract)
    assert words in error.value.found


def test_a_chip_of_your_own_may_have_published_figures():
    """For any batch size of a known contract; a misspelled one is still refused."""
    name = "throughput.coco_r50.Ascend910B4.batch2.slower"
    own = Limit(name, 100.0, True, "images/s", "a paper")
    check_limits(all_limits() | {name: own}, "coco_r50")
    for wrong in ("throughput.coco_r50.Ascend910B4.batch02x.slower", "throughput.coco.Ascend910B4.batch2.slower"):
        with pytest.raises(UsageError):
            check_limits(all_limits() | {wrong: structs.replace(own, name=wrong)}, "coco_r50")


def test_a_contract_without_limits_gets_no_verdict_that_names_the_key():
    """On the emulator as well: within no limit is not within a limit."""
    check_limits(all_limits(), "mine")
    measured = Measurement("size bias", 0.001, "log ratio", 500, gate="bias.size")
    for stand_in in (True, False):
        verdict = judge_gate(measured, Scope("mine", batch=4), "batch4", stand_in=stand_in)
        assert verdict.outcome is Outcome.NO_VERDICT
        assert not verdict.green, "the test that asked has to fail"
        assert "limits.toml has no [bias.mine.size]" in paragraph(verdict, again="pytest")


def test_a_measurement_is_judged_by_the_limit_of_its_key():
    """Whatever its name says."""
    measured = Measurement("whatever", 9.9, "log ratio", 500, gate="bias.size")
    verdict = judge_gate(measured, SHAPES, "batch4", stand_in=True)
    assert (verdict.outcome, verdict.limit.name) == (Outcome.FAIL, "bias.shapes.size")
    assert verdict.as_dict()["key"] == "bias.size"


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (Measurement("size bias", 0.0, "log ratio", 5), "carries the key ''"),
        (Measurement("size bias", 0.0, "log ratio", 5, gate="bias.siez"), "carries the key 'bias.siez'"),
        (Measurement("explained", 0.0, "share", 5, gate="consistency.unexplained"), "does not fit its gate consistency.unexplained"),
    ],
)  # fmt: skip
def test_a_measurement_without_its_gate_is_refused(measured, words):
    """Instead of being recorded and nothing else."""
    with pytest.raises(FcosError) as error:
        judge_gate(measured, SHAPES, "batch4", stand_in=True)
    assert words in error.value.found


def test_a_limit_of_the_file_cannot_be_replaced_by_a_derived_one():
    """Only a bound that follows from the run's own baseline or options comes from elsewhere."""
    loose = Limit("loose", 99.0, False, "log ratio", "a guess", derived=True)
    with pytest.raises(FcosError):
        judge_gate(
            Measurement("x", 1.0, "log ratio", 5, gate="bias.size"), SHAPES, "batch4", stand_in=True, derived=loose
        )


def test_aipp_has_limits_of_its_own_where_the_catalogue_says_so():
    """And all others are the same."""
    gate = GATES["accuracy.mAP"]
    assert gate.limit_name(replace(SHAPES, aipp=True)) == "accuracy_aipp.shapes.mAP"
    assert gate.limit_name(SHAPES) == "accuracy.shapes.mAP"
    assert GATES["bias.size"].limit_name(replace(SHAPES, aipp=True)) == "bias.shapes.size"


def test_published_figures_have_a_limit_for_each_batch_size_of_the_recipe():
    """By chip and batch size, in both directions."""
    (((contract, chip), sizes),) = PUBLISHED_FOR.items()
    for size in sizes:
        for key in ("published.slower", "published.faster"):
            assert GATES[key].limit_name(Scope(contract, chip, size)) in all_limits(FILE)


ZOO = "fcos_r50-caffe_fpn_gn-head_1x_coco"


def test_a_contract_may_be_judged_by_anothers_limits():
    """What has no limit under its own name has that of the one that it names; a published rate is nobody else's."""
    scope = Scope(ZOO, "Ascend310P3", 4, like="coco_r50")
    assert GATES["bias.size"].limit_names(scope) == (f"bias.{ZOO}.size", "bias.coco_r50.size")
    assert GATES["published.slower"].limit_names(scope) == (f"throughput.{ZOO}.Ascend310P3.batch4.slower",)
    assert GATES["accuracy.mAP"].limit_names(scope) == (f"accuracy.{ZOO}.mAP",), "coco_r50 has none of this name"
    assert GATES["accuracy.mAP_as_published"].limit_names(scope) == (), "published for coco_r50 alone"
    assert GATES["bias.size"].limit_names(Scope("coco_r50", like="coco_r50")) == ("bias.coco_r50.size",) * 2
    measured = Measurement("size bias", 0.001, "log ratio", 500, gate="bias.size")
    verdict = judge_gate(measured, scope, "batch4", stand_in=False)
    assert (verdict.outcome, verdict.limit.name) == (Outcome.PASS, "bias.coco_r50.size")
    assert judge_gate(measured, Scope("mine"), "batch4", stand_in=False).lacks == "bias.mine.size"


def test_a_borrowed_limit_is_not_missing_and_ones_own_goes_first():
    """A limits file with the AP alone is whole for a contract of the zoo, and a hole in what it borrows is none of its own."""
    check_limits(all_limits(), ZOO, "coco_r50")
    with pytest.raises(UsageError, match=f"lacks .*{ZOO}"):
        check_limits(all_limits(), ZOO)
    with pytest.raises(UsageError, match=rf"lacks \[bias.{ZOO}.size\]"):
        check_limits(without("bias.coco_r50.size"), ZOO, "coco_r50")
    own = structs.replace(all_limits()["bias.coco_r50.size"], name=f"bias.{ZOO}.size", bound=0.001)
    check_limits(all_limits() | {own.name: own}, ZOO, "coco_r50")
    scope = Scope(ZOO, like="coco_r50")
    assert limit_of(GATES["bias.size"], scope, all_limits() | {own.name: own}) is own


def test_limits_of_a_contract_that_is_a_file_disturb_no_other_run():
    """They are held to the catalogue by their gates; a name that resembles a known contract is a misspelt one."""
    own = {name.replace("shapes", "mine"): structs.replace(limit, name=name.replace("shapes", "mine"))
           for name, limit in all_limits().items() if name.split(".")[1:2] == ["shapes"] and "_most" not in name}  # fmt: skip
    for contract in (None, "coco_r50", "mine"):
        check_limits(all_limits() | own, contract)
    for name in ("bias.mine.sice", "accuracy.mine.box", "bias.shape.size", "paired.coco_r5o.loss"):
        limit = structs.replace(own["bias.mine.size"], name=name)
        with pytest.raises(UsageError, match=rf"has \[{name}\], which no gate knows"):
            check_limits(all_limits() | {name: limit}, "shapes")
    flipped = own | {"bias.mine.size": structs.replace(own["bias.mine.size"], unit="px")}
    with pytest.raises(UsageError, match="and its gate is"):
        check_limits(all_limits() | flipped)
