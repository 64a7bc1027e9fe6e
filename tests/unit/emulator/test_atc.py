"""atc compiles, or fails with the code, the words and the exit status of the real one.

How it is killed, hangs and leaves half of its files: tests/unit/faults/catalogue/compiler.py.
"""

import json
import os
import re
import subprocess
import sys

import onnx
import pytest

from fcos_lib.emulator import om
from fcos_lib.emulator.atc import CommandLineError, parse

SUCCESS = "ATC run success, welcome to the next use."
FAILURE = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"


def run(run_atc, command):
    """Run the command line that a dict describes."""
    return run_atc(*(f"{name}={value}" for name, value in command.items()))


def test_success_is_announced_and_leaves_its_files(run_atc, command, tmp_path):
    """Exit 0, the start line first, the OM under the output's name and the side files in the working folder."""
    status, out, err = run(run_atc, command)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "ATC start working now, please wait for a moment."
    assert SUCCESS in out.splitlines()
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= {"out.om", "fusion_result.json", "kernel_meta"}, f"atc wrote {sorted(written)}"
    report = json.loads((tmp_path / "fusion_result.json").read_text())["session_and_graph_id_0_0"]
    counts = report["ub_fusion"]["ConvRelu-STAND-IN"]
    assert counts["effect_times"] == counts["match_times"] == "1", "the detector has one Conv with a Relu behind it"


def test_outputs_come_in_the_order_of_out_nodes(compile_om):
    """`labels;dets` and `dets;labels` are two different OMs; names end in the ONNX output."""
    first = om.read(compile_om()).header.outputs
    second = om.read(compile_om(out_nodes="dets;labels")).header.outputs
    assert [desc.name for desc in first] == ["Cast_15:0:labels", "Concat_19:0:dets"]
    assert [desc.name for desc in second] == ["Concat_19:0:dets", "Cast_15:0:labels"]
    assert [(desc.dtype, desc.shape) for desc in first] == [("int64", (2, 10)), ("float32", (2, 10, 5))]


def test_without_out_nodes_the_models_order_is_kept(run_atc, command, tmp_path):
    """All graph outputs, as the ONNX has them."""
    del command["--out_nodes"]
    assert run(run_atc, command)[0] == 0
    assert [desc.name for desc in om.read(tmp_path / "out.om").header.outputs] == [
        "Cast_15:0:labels",
        "Concat_19:0:dets",
    ]


def test_inner_nodes_can_be_outputs(compile_om):
    """The spelling `node:index` taps the graph; what follows the tap is not compiled."""
    header = om.read(compile_om(out_nodes="Relu_1:0;Sigmoid_10:0")).header
    assert [desc.name for desc in header.outputs] == ["Relu_1:0", "Sigmoid_10:0"]
    assert header.nms is None


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"--framework": ""}, "E10007", "[--framework] is required. The value must be [0(Caffe) or 1(MindSpore)"),
        ({"--model": ""}, "E10054", "not enclosed by quotation marks"),
        ({"--soc_version": ""}, "E10054", "--soc_version"),
        ({"--output": ""}, "E10054", "--output"),
        ({"--model": "none.onnx"}, "E13000", "Path none.onnx is empty. Reason: No such file or directory."),
        ({"--model": "broken.onnx"}, "E10041", "Failed to load the model from broken.onnx."),
        ({"--model": "empty.onnx"}, "E16004", "ONNX model has no graph."),
        ({"--soc_version": "AscendAscend310P3"}, "E10001", "Value AscendAscend310P3 for parameter --soc_version"),
        ({"--input_shape": "input:1,3,x,16"}, "E10002", "integers"),
        ({"--input_shape": "input:0,3,16,16"}, "E10011", "positive integers"),
        ({"--input_shape": "image:1,3,16,16"}, "E10016", "Opname image specified in --input_shape is not found"),
        ({"--input_shape": "input:3,16,16"}, "E10049", "Dimension count 3"),
        ({"--input_shape": ""}, "E10055", "static shapes only"),
        ({"--out_nodes": "labels;boxen"}, "E11017", "boxen"),
        ({"--precision_mode": "force_fp16", "--precision_mode_v2": "fp16"}, "E10056", "simultaneously"),
        ({"--precision_mode": "fp8"}, "E10001", "fp8"),
        ({"--precision_mode": "allow_mix_precision"}, "E10055", "does not imitate"),
        ({"--op_select_implmode": "fastest"}, "E10001", "Value fastest for parameter --op_select_implmode"),
        ({"--insert_op_conf": "none.cfg"}, "E10001", "realpath error, errmsg:No such file or directory"),
        ({"--output_type": "FP16"}, "E10055", "does not imitate --output_type"),
        ({"--dynamic_batch_size": "1,2"}, "E10031", "batch size equaling -1"),
        ({"--dynamic_batch_size": "1", "--input_shape": "input:-1,3,16,16"}, "E10035", "1 profiles"),
        ({"--mode": "9"}, "E10055", "--mode=9"),
    ],
    ids=lambda value: value if isinstance(value, str) and re.fullmatch(r"E\d+", value) else None,
)
def test_mistakes_have_their_codes(run_atc, command, tmp_path, changes, code, text):
    """Exit 255, the failure line, then one block that begins with the code and the process id."""
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    status, out, _ = run(run_atc, command | changes)
    assert status == 255, out
    lines = out.splitlines()
    assert FAILURE in lines
    block = lines[lines.index(FAILURE) + 1]
    assert re.match(rf"{code}: \[PID: \d+\] \d{{4}}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{{3}}\.\d{{3}} \S", block), block
    assert text in block
    assert not (tmp_path / "out.om").exists()


def test_an_unreadable_command_line_has_no_code_of_its_own(run_atc):
    """The cause is on stderr; stdout has the inner error of a failure that nobody recorded."""
    status, out, err = run_atc("--framework=5", "dets")
    assert status == 255
    assert err.strip() == "ERROR: Non-option parameter: dets"
    assert out.endswith("E19999: Inner Error!\n        Unknown error occurred. Please check the log.\n")


@pytest.mark.parametrize("opset", [16, 17])
def test_the_nms_has_no_plugin_in_newer_opsets(run_atc, command, detector, opset):
    """Exporting FCOS with a modern opset is the classic mistake."""
    detector.opset_import[0].version = opset
    onnx.save(detector, "detector.onnx")
    out = run(run_atc, command)[1]
    assert f"BatchMultiClassNMS_14, optype: ai.onnx::{opset}::BatchMultiClassNMS." in out
    assert "E13010: " in out


def test_unknown_operators_are_named(run_atc, command, detector):
    """Operator, type, domain and opset; the first in the message, the others under TraceBack."""
    detector.graph.node[1].op_type, detector.graph.node[3].op_type = "Relux", "Expo"
    onnx.save(detector, "detector.onnx")
    message, _, trace = run(run_atc, command)[1].partition("TraceBack (most recent call last):")
    assert "No operator plugin is registered for Op: Relu_1, optype: ai.onnx::11::Relux." in message
    assert "No parser is registered for Op [Exp_3, optype [ai.onnx::11::Expo]]." in trace


def test_help_exits_with_0(run_atc):
    """And compiles nothing."""
    status, out, _ = run_atc("--help")
    assert status == 0
    assert "--soc_version" in out


def test_an_om_tells_how_it_was_made(run_atc, compile_om):
    """`--mode=6` prints command line, version and chip."""
    compile_om()
    status, out, _ = run_atc("--mode=6", "--om=out.om")
    assert status == 0
    assert "Original Atc command line: atc.bin --framework=5 --model=detector.onnx" in out
    assert re.search(
        r"system   info: atc_version\[.*STAND-IN.*\], soc_version\[Ascend310P3\], framework_type\[5\]\.", out
    )


@pytest.mark.parametrize("mode", ["force_fp16", "force_fp32"])
def test_an_om_becomes_json(run_atc, compile_om, tmp_path, mode):
    """`--mode=1` names every operator; the Casts with which the stand-in imitates fp16 are none of them."""
    compile_om(precision_mode=mode)
    assert run_atc("--mode=1", "--om=out.om", "--json=out.json")[0] == 0
    document = json.loads((tmp_path / "out.json").read_text())
    attributes = {entry["key"]: entry["value"]["s"] for entry in document["attr"]}
    assert "STAND-IN" in attributes["atc_version"]
    assert attributes["soc_version"] == "Ascend310P3"
    kinds = [operator["type"] for operator in document["graph"][0]["op"]]
    assert {kind: kinds.count(kind) for kind in ("Cast", "Conv2D", "Relu", "TransData", "Data", "NetOutput")} == {
        "Cast": 5,
        "Conv2D": 3,
        "Relu": 0,
        "TransData": 1,
        "Data": 1,
        "NetOutput": 1,
    }
    assert kinds.count("BatchMultiClassNonMaxSuppression") == 1


@pytest.mark.parametrize("options", [("--mode=1", "--json=out.json"), ("--mode=6",)])
def test_a_damaged_om_cannot_be_shown(run_atc, tmp_path, options):
    """E10041, as for any model that cannot be read."""
    (tmp_path / "bad.om").write_bytes(b"?")
    assert "E10041: " in run_atc(*options, "--om=bad.om")[1]


def test_a_failure_can_be_ordered_with_its_code(run_atc, command, play):
    """`atc=fail:CODE` uses the catalogue's words, and STAND-IN where it has none."""
    play("atc=fail:E10041")
    assert "Failed to load the model from STAND-IN." in run(run_atc, command)[1]
    play("atc=fail:EZ9999")
    status, out, _ = run(run_atc, command)
    assert status == 255
    assert re.search(r"^EZ9999: \[PID: \d+\] \S+ STAND-IN$", out, re.MULTILINE)


def test_atc_can_end_without_a_word(tmp_path):
    """Nothing is written after the start line."""
    command = [sys.executable, "-m", "fcos_lib.emulator.atc", "--framework=5"]
    environ = os.environ | {"FCOS_EMULATOR": "atc=exit255"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=20)
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (255, 1, "")
    assert done.stdout.startswith("ATC start working now")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--out_nodes=labels;dets"], {"out_nodes": "labels;dets"}),
        (["--out_nodes", "labels;dets"], {"out_nodes": "labels;dets"}),
        (["--out_node=labels;dets"], {"out_nodes": "labels;dets"}),
        (["--output=x"], {"output": "x"}),
        (["--model", "--framework=5"], {"model": "--framework=5"}),
    ],
    ids=["equals sign", "blank", "beginning", "exact name beside a longer one", "value swallowed"],
)
def test_the_command_line_is_read_as_getopt_reads_it(arguments, options):
    """A beginning that only one option has is enough (the recipe says `--out_node`); a value is the next word, whatever it is."""
    assert parse(arguments) == options


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frobnicate=1"], "ERROR: unknown command line flag 'frobnicate'"),
        (["--out=x"], "ERROR: unknown command line flag 'out'"),
        (["--framework=5", "--model"], "ERROR: flag '--model' is missing its argument"),
        (["--framework=5", "dets"], "ERROR: Non-option parameter: dets"),
    ],
    ids=["unknown", "ambiguous", "no value", "unquoted semicolon"],
)
def test_an_unreadable_command_line_is_quoted(arguments, words):
    """Without dashes and value."""
    with pytest.raises(CommandLineError) as caught:
        parse(arguments)
    assert str(caught.value) == words
