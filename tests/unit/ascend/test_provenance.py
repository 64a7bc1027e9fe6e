"""An OM that was compiled elsewhere is refused unless it takes what this run feeds."""

import json
from dataclasses import asdict

import pytest

from fcos_lib.ascend.provenance import check_provenance, find_oms, om_facts
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import InputLayout
from fcos_lib.errors import UsageError

FLOAT, UINT8 = InputLayout.FLOAT_NCHW, InputLayout.UINT8_NHWC
COMMAND = "atc.bin --framework=5 --model=a.onnx --input_shape=input:4,3,4,6 --out_nodes=labels;dets"
AIPP = " --insert_op_conf=/tmp/aipp.cfg"


@pytest.fixture
def facts(script, om, contract):
    """Reads the facts of an OM that was compiled with a command line."""

    def read(line):
        said = f"Original Atc command line: {line}\\nsoc_version[Ascend310P3], atc_version[8.0.0]\\n"
        return om_facts(Toolkit(atc=script("atc", f"printf '{said}'")), om, contract)

    return read


def check(facts, contract, layout):
    """Check the facts for a run on their own chip."""
    check_provenance(facts, soc_version="Ascend310P3", onnx_sha256="0" * 64, contract=contract, layout=layout)


@pytest.mark.parametrize("line", [COMMAND + AIPP, COMMAND + " --insert-op-conf aipp.cfg", COMMAND + " --insert=a.cfg"])
def test_aipp_is_recognised_by_the_command_line(facts, line):
    """In every spelling that atc accepts."""
    assert facts(line).input_layout is UINT8


def test_an_om_without_aipp_takes_floats(facts):
    """`--input_fp16_nodes` and `--input_shape` begin alike and mean something else."""
    assert facts(COMMAND + " --input_fp16_nodes=x").input_layout is FLOAT


@pytest.mark.parametrize(("line", "layout"), [(COMMAND, FLOAT), (COMMAND + AIPP, UINT8)], ids=["float", "aipp"])
def test_an_om_that_takes_what_the_run_feeds_is_accepted(facts, contract, line, layout):
    """No false alarm."""
    check(facts(line), contract, layout)


@pytest.mark.parametrize(("line", "layout"), [(COMMAND, UINT8), (COMMAND + AIPP, FLOAT)], ids=["float", "aipp"])
def test_an_om_that_takes_something_else_is_refused(facts, contract, line, layout):
    """Before the device is touched, with both layouts named."""
    with pytest.raises(UsageError, match="does not belong to this run") as caught:
        check(facts(line), contract, layout)
    other = FLOAT if layout is UINT8 else UINT8
    assert f"its input is {other.value}, this run feeds {layout.value}" in caught.value.found
    assert "--aipp" in caught.value.advice


def test_the_layout_is_written_down_as_text(facts):
    """Facts go to results.json."""
    assert json.loads(json.dumps(asdict(facts(COMMAND + AIPP)), default=str))["input_layout"] == "uint8 NHWC (AIPP)"


DYNAMIC = "atc.bin --model=a.onnx --input_shape=input:-1,3,4,6 --dynamic_batch_size=8,1,4 --out_nodes=labels;dets"


@pytest.mark.parametrize(
    ("line", "batches"),
    [
        (COMMAND, (4,)),
        (DYNAMIC, (1, 4, 8)),
        (DYNAMIC.replace("--dynamic_batch_size=8,1,4", "--dynamic-batch-size 8,1,4"), (1, 4, 8)),
        (DYNAMIC.replace("--dynamic_batch_size=8,1,4", ""), ()),
        (COMMAND.replace("input:4", "image:4"), ()),
    ],
    ids=["fixed", "profiles", "spelling", "range", "name"],
)
def test_the_batch_sizes_are_known(facts, line, batches):
    """The fixed one, or every profile."""
    assert facts(line).batches == batches


def test_one_om_serves_all_of_its_profiles(script, contract, tmp_path):
    """A folder with one dynamic OM and one for another size has OMs for all of them."""
    for name, line in (("all.om", DYNAMIC), ("two.om", COMMAND.replace("input:4", "input:2"))):
        (tmp_path / name).write_text(line)
    said = (
        'printf "Original Atc command line: "; cat "${2#--om=}"; echo; echo "soc_version[Ascend310P3], atc_version[8]"'
    )
    toolkit = Toolkit(atc=script("tools/atc", said))
    by_batch = find_oms(toolkit, tmp_path, contract)
    assert {batch: facts.path.name for batch, facts in by_batch.items()} == {
        1: "all.om", 2: "two.om", 4: "all.om", 8: "all.om",
    }  # fmt: skip
    (tmp_path / "four.om").write_text(COMMAND)
    with pytest.raises(UsageError, match="are both for batch size 4"):
        find_oms(toolkit, tmp_path, contract)


@pytest.mark.parametrize(
    ("added", "mode"),
    [("", "force_fp16"), (" --precision_mode=force_fp32", "force_fp32"), (" --precision_mode_v2=origin", "origin")],
)
def test_the_precision_mode_is_that_of_either_option(facts, added, mode):
    """An OM that keeps float32 was once reported as fp16 if the newer option had asked for it."""
    assert facts(COMMAND + added).precision_mode == mode
