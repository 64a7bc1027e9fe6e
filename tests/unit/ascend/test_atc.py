"""Only a finished OM comes out of `atc`, and each way of failing is explained."""

import json
import os
import sys
import time

import pytest

from fcos_lib.ascend.atc import AtcOptions, clean_environment, compile_om, om_info, om_json
from fcos_lib.ascend.atc_errors import diagnose, error_line
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.errors import AtcError

OPTIONS = AtcOptions(soc_version="Ascend310P3", batch=4)

OUTPUT = 'for a; do case "$a" in --output=*) out="${a#--output=}";; esac; done\n'
"""Shell lines that find atc's `--output`."""


@pytest.fixture
def compile_with(tmp_path, script, contract):
    """Compiles a stand-in ONNX with the given script as atc; returns the OM."""
    onnx = tmp_path / "fcos.onnx"
    onnx.write_bytes(b"onnx")

    def run(body, **arguments):
        toolkit = Toolkit(atc=script("atc", OUTPUT + body))
        return compile_om(toolkit, onnx, tmp_path / "out", contract, OPTIONS, **arguments)

    return run


def test_a_successful_run_leaves_the_om_and_the_log(compile_with, tmp_path):
    """Warnings after the success line are no failure; of the side files only the fusion report is kept."""
    om = compile_with(
        """
        umask 002
        mkdir kernel_meta; echo '{}' > fusion_result.json
        echo 'ATC start working now, please wait for a moment.'
        printf om > "$out.om"
        echo 'ATC run success, welcome to the next use.'
        echo 'W11001: Op [Slice_30] does not hit the high-priority operator information library.' >&2
        """
    )
    assert om == tmp_path / "out" / "model.om"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "atc.log",
        "fusion_result.json",
        "model.om",
    ]
    assert "ATC run success" in (tmp_path / "out" / "atc.log").read_text()
    assert "W11001" in (tmp_path / "out" / "atc.log").read_text()
    assert om.stat().st_mode & 0o777 == 0o640, "newer aclruntime refuses an OM that the group may change"


def test_an_old_fusion_report_is_never_taken_for_a_new_one(compile_with, tmp_path):
    """A release that writes none leaves none, whatever lay in the folder before."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fusion_result.json").write_text("{}")
    compile_with('printf om > "$out.om"')
    assert not (tmp_path / "out" / "fusion_result.json").exists()


def test_an_om_named_after_its_platform_is_found(compile_with, tmp_path):
    """Newer CANN embeds host code and says so in the name."""
    assert compile_with('printf om > "${out}_linux_aarch64.om"') == tmp_path / "out" / "model_linux_aarch64.om"


def test_a_relative_onnx_and_folder_are_made_absolute(compile_with, tmp_path, monkeypatch, script, contract):
    """atc runs in another folder, where relative paths would point elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fcos.onnx").write_bytes(b"onnx")
    atc = script("atc", OUTPUT + 'case "$out" in /*) cp "${2#--model=}" "$out.om";; esac')
    om = compile_om(
        Toolkit(atc=atc.relative_to(tmp_path)), (tmp_path / "fcos.onnx").relative_to(tmp_path),
        (tmp_path / "out").relative_to(tmp_path), contract, OPTIONS,
    )  # fmt: skip
    assert om.is_absolute()
    assert om.read_bytes() == b"onnx"


def test_an_old_om_is_never_taken_for_a_new_one(compile_with, tmp_path):
    """A run that writes nothing fails even if an earlier one had left an OM."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model_linux_x86_64.om").write_bytes(b"old")
    with pytest.raises(AtcError, match=r"status 0 and claims success, but wrote no model\.om"):
        compile_with("echo 'ATC run success, welcome to the next use.'")
    assert not list((tmp_path / "out").glob("*.om"))


@pytest.mark.parametrize(
    ("body", "words"),
    [(': > "$out.om"', r"empty model\.om"), ('printf half > "$out.om"; exit 255', "status 255")],
    ids=["empty", "half"],
)
def test_an_empty_om_or_half_of_one_is_not_left_for_the_next_reader(compile_with, tmp_path, body, words):
    """As on a full disk, or of an atc that fails while it writes."""
    with pytest.raises(AtcError, match=words):
        compile_with(body)
    assert not list((tmp_path / "out").glob("*.om"))


FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information\n"


@pytest.mark.parametrize(
    "line",
    [
        "E10016: Opname [input] specified in [--input_shape] is not found in the model",
        "E10016: [PID: 10490] 2025-03-18-09:02:18.501.341 Opname [input] specified in [--input_shape] is not found in the "
        "model",
    ],
    ids=["cann7", "cann8"],
)
def test_the_error_line_of_both_layouts_is_quoted(compile_with, tmp_path, line):
    """CANN 8 puts process and time before the message; the reader gets the message."""
    with pytest.raises(AtcError) as caught:
        compile_with(f"cat <<'END'\n{FAILED}{line}\n        Possible Cause: N/A\nEND\nexit 255")
    assert caught.value.found == (
        "atc ended with status 255: E10016: Opname [input] specified in [--input_shape] is not found in the model"
    )
    assert "ascend ending" in caught.value.advice
    assert caught.value.advice.endswith(f"log: {tmp_path / 'out' / 'atc.log'}")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("E10001: Value [Ascend999] for parameter [--soc_version] is invalid. Reason: unknown.", "npu-smi tells it"),
        ("E10001: Value [9] for parameter [--optypelist] is invalid. Reason: range.", "atc --help"),
        ("E10054: The value of [--out_nodes] is empty", "unquoted ';'"),
        ("E10410: File [/a.onnx] does not exist.", "does not exist on this machine"),
        ("EZ3003: No supported Ops kernel and engine are found for [nms], optype [BatchMultiClassNMS].", "no kernel"),
        ("E13010: No operator plugin is registered for Op: x, optype: y.", "opset 11"),
        ("E19010: No parser is registered for Op [x, optype [ai.onnx::23::Div]].", "opset 11"),
        (
            "EC0010: Failed to import Python module [ModuleNotFoundError: No module named 'decorator'.].",
            "decorator attrs",
        ),
        ("EC0010: Failed to import Python module [AttributeError: `np.float_` was removed in NumPy 2.0].", "numpy<2"),
        ("E40000: Failed to import te.platform.log_util.", "Python 3.7 to 3.10"),
        ("TypeError: cannot pickle 'FrameLocalsProxy' object", "3.11 fails"),
        ("atc.bin: error while loading shared libraries: libascend_hal.so: cannot open shared object file", "devlib"),
        ("atc.bin: error while loading shared libraries: libge_compiler.so: cannot open", "set_env.sh"),
    ],
)
def test_known_failures_come_with_advice(text, advice):
    """Each failure that practitioners report names its remedy, and its own line is quoted."""
    sentence, what_to_do = diagnose(255, f"{FAILED}{text}\n")
    assert advice in what_to_do
    assert text.partition(":")[0] in sentence


E19010 = """\
E19010: [PID: 7] 2026-01-02-03:04:05.678.901 No parser is registered for Op [/neck/Resize_1, optype [ai.onnx::19::Resize]].
        Possible Cause: N/A
        TraceBack (most recent call last):
        No parser is registered for Op [/backbone/layer1/layer1.0/relu/Mish, optype [ai.onnx::11::Mish]].
        No parser is registered for Op [nms/BatchMultiClassNMS, optype [ai.onnx::11::BatchMultiClassNMS]].
        No parser is registered for Op [x, optype [custom::1::Thing]].
        No parser is registered for Op [/neck/Resize_1, optype [ai.onnx::19::Resize]].
"""
E20001 = (
    "[PID: 12345] 2026-01-02-03:04:05.678.901 E20001: Failed to compile Op [/bbox_head/Mul_3_ascend_mbatch_batch_5], "
    "see the log\n"
)


@pytest.mark.parametrize(
    ("text", "first", "listed"),
    [
        (
            E19010,
            "E19010: No parser is registered for Op [/neck/Resize_1, optype [ai.onnx::19::Resize]].",
            [
                "node '/neck/Resize_1', module neck, ai.onnx::19::Resize: export the model at opset 11",
                "node '/backbone/layer1/layer1.0/relu/Mish', module backbone.layer1.0.relu, ai.onnx::11::Mish: replace it",
                "node 'nms/BatchMultiClassNMS', ai.onnx::11::BatchMultiClassNMS: export the model at opset 11",
                "node 'x', custom::1::Thing: it is no operator of ONNX",
            ],
        ),
        (
            E20001,
            "E20001: Failed to compile Op [/bbox_head/Mul_3], see the log",
            ["node '/bbox_head/Mul_3', module bbox_head: replace it"],
        ),
        (
            "EZ3003: No supported Ops kernel and engine are found for [/neck/Add], optype [Add].\n",
            "EZ3003: No supported Ops kernel",
            ["node '/neck/Add', module neck, Add: replace it"],
        ),
    ],
    ids=["E19010", "E20001", "EZ3003"],
)
def test_every_operator_that_fails_is_listed(text, first, listed):
    """With its node in the ONNX, the module it comes from and what to do; the message alone names the first."""
    sentence, _ = diagnose(255, f"{FAILED}{text}")
    head, *lines = sentence.split("\n    ")
    assert head.startswith(f"atc ended with status 255: {first}")
    assert len(lines) == len(listed), lines
    for line, words in zip(lines, listed, strict=True):
        assert line.startswith(words)


REPORT = {
    "status": "failed",
    "ops": [
        {"name": "Relu_1", "type": "Relu", "cause": []},
        {"name": "/neck/Resize_117", "type": "Resize", "cause": [{"code": 1, "message": "The type is not supported."}]},
    ],
}


@pytest.mark.parametrize("content", [json.dumps(REPORT), "[" * 5000, "{", "", '{"cause": [1], "name": 3}'])
def test_causes_that_only_the_json_report_has_are_quoted(compile_with, content):
    """atc leaves it in its working folder, which is gone afterwards; one that cannot be read says nothing."""
    with pytest.raises(AtcError, match="E10041: Failed to load the model") as caught:
        compile_with(
            f"cat > check_result.json <<'END'\n{content}\nEND\necho 'E10041: Failed to load the model'; exit 255"
        )
    quoted = "\n    node '/neck/Resize_117', module neck, Resize (The type is not supported.): replace it"
    assert (quoted in caught.value.found) is (content.startswith('{"status"'))


@pytest.mark.parametrize(
    "said",
    ["unknown command line flag 'nonsense'", "flag '--log' is missing its argument", "Non-option parameter: dets"],
)
def test_a_refused_option_is_quoted(said):
    """The parser's own line says more than the inner error that follows it."""
    text = f"ERROR: {said}\n{FAILED}E19999: Inner Error!\n        Unknown error occurred. Please check the log.\n"
    assert diagnose(255, text) == (
        f"atc ended with status 255: {said}",
        "this CANN does not know the option or its value: compare with atc --help",
    )


def test_the_most_telling_of_several_errors_is_quoted():
    """E19999 only says that something failed inside; warnings are no errors at all."""
    text = (
        "W11001: Op [Slice_30] does not hit the high-priority operator information library.\n"
        "E19999: Inner Error!\n        Failed to optimize the graph[FUNC:Build][FILE:a.cc][LINE:1]\n"
        "EZ3003: [PID: 7] 2026-01-01-00:00:00.000.000 No supported Ops kernel\n"
    )
    assert error_line(text) == ("EZ3003", "No supported Ops kernel")
    code, message = error_line(text.partition("EZ3003")[0])
    assert code == "E19999"
    assert message.startswith("Inner Error! Failed to optimize the graph")
    assert error_line("no code at all\n") is None


def test_without_a_code_the_last_line_is_quoted(compile_with):
    """Loader errors and Python tracebacks carry no code."""
    with pytest.raises(AtcError, match="status 3: the end") as caught:
        compile_with("echo first; echo 'the end'; echo; exit 3")
    assert caught.value.advice.startswith("log: ")


@pytest.mark.parametrize("death", ["kill -9 $$", "exit 137"])
def test_a_killed_atc_points_to_memory(compile_with, death):
    """The kernel's out-of-memory killer leaves no text."""
    with pytest.raises(AtcError, match=r"killed by signal 9 \(out of memory\?\)") as caught:
        compile_with(death)
    assert "TE_PARALLEL_COMPILER=1" in caught.value.advice


def test_other_signals_are_named():
    """A crash is told from an error."""
    assert diagnose(-11, "")[0] == diagnose(139, "")[0] == "atc was killed by signal 11"


def test_a_hanging_atc_is_killed_with_its_children(compile_with, tmp_path, wait_until_dead):
    """The timeout holds for the whole process group, and nothing half-written stays."""
    start = time.monotonic()
    with pytest.raises(AtcError, match="did not finish within 1 s") as caught:
        compile_with(f'printf half > "$out.om"; (sleep 60 & echo $! > {tmp_path}/pid; wait) & wait', timeout_s=1)
    seconds = time.monotonic() - start
    assert seconds < 10, f"a limit of 1 s took {seconds:.1f} s"
    assert wait_until_dead(int((tmp_path / "pid").read_text()))
    assert not list((tmp_path / "out").glob("*.om"))
    assert "atc.log" in caught.value.advice


def test_what_a_dead_atc_started_is_killed_too(compile_with, tmp_path, wait_until_dead):
    """Compiler processes do not outlive an atc that fails."""
    with pytest.raises(AtcError, match="status 2"):
        compile_with(f"sleep 60 & echo $! > {tmp_path}/pid; exit 2")
    assert wait_until_dead(int((tmp_path / "pid").read_text()))


def test_a_long_output_is_kept_on_disk_and_read_in_part(compile_with, tmp_path):
    """An atc that logs without end fills no memory; the error at the end is still found."""
    with pytest.raises(AtcError, match="E10041"):
        compile_with("yes '[DEBUG] a line of a debug log' | head -c 3000000; echo 'E10041: Failed to load'; exit 255")
    size = (tmp_path / "out" / "atc.log").stat().st_size
    assert size > 3_000_000, f"the log has {size} bytes of more than 3,000,000"


def test_the_log_of_a_failure_can_be_kept_elsewhere(compile_with, tmp_path):
    """A store removes the folder of a failed build; the log that the message names must survive."""
    with pytest.raises(AtcError) as caught:
        compile_with("echo 'the reason'; exit 1", failed_log=tmp_path / "logs" / "kept.log")
    assert (tmp_path / "logs" / "kept.log").read_text() == "the reason\n"
    assert caught.value.advice == f"log: {tmp_path / 'logs' / 'kept.log'}"


def test_a_missing_atc_or_model_is_told_before_anything_runs(tmp_path, contract, script):
    """Neither needs a process to be noticed."""
    with pytest.raises(AtcError, match="atc was not found") as caught:
        compile_om(Toolkit(), tmp_path / "a.onnx", tmp_path, contract, OPTIONS)
    assert "set_env.sh" in caught.value.advice
    with pytest.raises(AtcError, match="no ONNX model at"):
        compile_om(Toolkit(atc=script("atc", "exit 0")), tmp_path / "a.onnx", tmp_path, contract, OPTIONS)


def test_an_atc_that_cannot_be_started_is_an_atc_error(tmp_path, contract):
    """A binary of another CPU, for example."""
    (tmp_path / "atc").write_bytes(b"\x7fELF broken")
    (tmp_path / "atc").chmod(0o755)
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    with pytest.raises(AtcError, match="cannot be started"):
        compile_om(Toolkit(atc=tmp_path / "atc"), tmp_path / "a.onnx", tmp_path, contract, OPTIONS)


def test_the_virtual_environment_is_kept_from_atc():
    """atc embeds the system's Python; CANN's own settings stay."""
    environ = {
        "VIRTUAL_ENV": "/home/me/venv",
        "VIRTUAL_ENV_PROMPT": "venv",
        "PYTHONHOME": "/home/me/python",
        "PATH": "/home/me/venv/bin:/cann/bin:/usr/bin",
        "PYTHONPATH": "/home/me/venv/lib/python3.11/site-packages:/cann/python/site-packages",
        "LD_LIBRARY_PATH": "/cann/lib64",
        "ASCEND_OPP_PATH": "/cann/opp",
        "HOME": "/root",
    }
    assert clean_environment(environ) == {
        "PATH": "/cann/bin:/usr/bin",
        "PYTHONPATH": "/cann/python/site-packages",
        "LD_LIBRARY_PATH": "/cann/lib64",
        "ASCEND_OPP_PATH": "/cann/opp",
        "HOME": "/root",
    }


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="this Python is in no virtual environment")
def test_an_environment_that_was_never_activated_is_left_out_too():
    """`venv/bin/python -m pytest` sets no VIRTUAL_ENV, yet its bin folder may be on PATH."""
    assert clean_environment({"PATH": f"{sys.prefix}/bin{os.pathsep}/usr/bin"}) == {"PATH": "/usr/bin"}


def test_atc_runs_in_the_clean_environment(compile_with, monkeypatch):
    """The process itself sees no virtual environment."""
    monkeypatch.setenv("VIRTUAL_ENV", "/home/me/venv")
    monkeypatch.setenv("ASCEND_OPP_PATH", "/cann/opp")
    om = compile_with('echo "$VIRTUAL_ENV:$ASCEND_OPP_PATH" > "$out.om"')
    assert om.read_text() == ":/cann/opp\n"


INFO = """\
ATC start working now, please wait for a moment.
============ Display Model Info start ============
Original Atc command line: /cann/bin/atc.bin --model=a.onnx --framework=5 --output=[x] --soc_version=Ascend310P3
system   info: atc_version[7.6.0.1.220], soc_version[Ascend310P3], framework_type[Onnx].
resource info: memory_size[24123392 B], weight_size[5170176 B], stream_num[1], event_num[0].
============ Display Model Info end   ============
"""


def test_an_om_says_how_it_was_made(om, script):
    """`--mode=6` is the supported way to recognise an OM for another chip."""
    atc = script("atc", f"[ \"$*\" = '--mode=6 --om={om}' ] && cat <<'END'\n{INFO}END\n")
    info = om_info(Toolkit(atc=atc), om)
    assert info["soc_version"] == "Ascend310P3"
    assert info["atc_version"] == "7.6.0.1.220"
    assert info["memory_size"] == "24123392 B"
    assert info["command_line"].startswith("/cann/bin/atc.bin --model=a.onnx")


def test_a_file_that_atc_cannot_read_is_no_om(om, tmp_path, script):
    """Neither a failing atc nor one that says nothing gives a provenance."""
    with pytest.raises(AtcError, match="E10003"):
        om_info(Toolkit(atc=script("atc", "echo 'E10003: Value for om is invalid. Reason: x'; exit 255")), om)
    with pytest.raises(AtcError, match="nothing about the chip"):
        om_info(Toolkit(atc=script("atc", "exit 0")), om)
    with pytest.raises(AtcError, match="no OM at"):
        om_info(Toolkit(atc=script("atc", "exit 0")), tmp_path / "other.om")


def test_an_om_becomes_json(om, tmp_path, script):
    """`--mode=1` writes where it is told to; what was there before is gone."""
    target = tmp_path / "model.json"
    target.write_text("old")
    atc = script("atc", f"[ \"$*\" = '--mode=1 --om={om} --json={target}' ] && echo new > {target}\n")
    assert om_json(Toolkit(atc=atc), om, target).read_text() == "new\n"


def test_an_om_that_does_not_become_json_is_an_error(om, tmp_path, script):
    """A failing atc, one that claims success and writes nothing, and a missing OM."""
    target = tmp_path / "model.json"
    target.write_text("old")
    with pytest.raises(AtcError, match="E10003"):
        om_json(Toolkit(atc=script("atc", "echo 'E10003: Value for om is invalid.'; exit 255")), om, target)
    with pytest.raises(AtcError, match=r"wrote no model\.json"):
        om_json(Toolkit(atc=script("atc", "exit 0")), om, target)
    with pytest.raises(AtcError, match="no OM at"):
        om_json(Toolkit(atc=script("atc", "exit 0")), tmp_path / "other.om", target)
