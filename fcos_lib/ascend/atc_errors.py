"""The mistakes that `atc` reports, and what helps: reads the text that it prints when it fails.

Texts and codes are those of the ATC user guide and of the Graph Engine's error registry, CANN 6 to 9.
"""

from __future__ import annotations

import re

from fcos_lib.ascend.process import last_line

_CODE_LINE = re.compile(
    r"^[ \t]*(?P<code>[EW][A-Z0-9]\d{4})(?::|[ \t])[ \t]*(?:\[PID: \d+\] \S+ )?(?P<message>.*)$", re.MULTILINE
)
"""`E10016: text` up to CANN 7, `E10016: [PID: 1] 2025-03-18-09:02:18.501.341 text` from 8, `EZ9999  text` in lists."""

_OPTION_LINE = re.compile(
    r"^ERROR: (?P<message>(?:unknown command line flag|flag '|Non-option parameter).*)$", re.MULTILINE
)
"""What the option parser says on stderr; the text on stdout may be no more than E19999 then."""

_OPSET_ADVICE = (
    "CANN registers BatchMultiClassNMS for ONNX opsets 8 to 13 (8 to 16 in the newest): export at opset 11, and check "
    "that the model is the ascend ending"
)
_PYTHON_ADVICE = (
    "the python3 that atc finds on PATH lacks something: CANN needs Python 3.7 to 3.10 (8.x: 3.11 fails) with 'numpy<2' "
    "decorator attrs sympy psutil absl-py protobuf cffi scipy pyyaml pathlib2"
)

_ADVICE_BY_TEXT: tuple[tuple[str, str], ...] = (
    (
        r"libascend_hal\.so",
        "there is no NPU driver here: add <toolkit>/<arch>-linux/devlib to LD_LIBRARY_PATH (for compiling only)",
    ),
    (r"error while loading shared libraries", "source set_env.sh of the toolkit first, it sets LD_LIBRARY_PATH"),
    (r"cannot pickle 'FrameLocalsProxy'|np\.float_|ModuleNotFoundError", _PYTHON_ADVICE),
    (
        r"^\s*E1000[13]\b.*soc_version",
        "pass the soc_version of the chip as npu-smi tells it, such as Ascend310P3; from CANN 8.5 the chip's ops package "
        "must be installed as well",
    ),
    (
        r"for parameter --(?:output|model|om|insert_op_conf) is invalid",
        "atc takes paths of letters, digits, '_', '-' and '.' only: pass another folder with --artifacts FOLDER",
    ),
    (_OPTION_LINE.pattern, "this CANN does not know the option or its value: compare with atc --help"),
    (r"^\s*E\d{5}\b.*(?:insufficient memory|out of memory)", "lower the batch size, or max_size_per_class of the NMS"),
)
"""Patterns that say more than the code, most telling first."""

_ADVICE_BY_CODE: dict[str, str] = {
    "E10001": "this CANN does not know the option or its value: compare with atc --help",
    "E10003": "this CANN does not know the option or its value: compare with atc --help",
    "E10007": "an option that atc requires is missing or empty",
    "E10016": "the model's input has another name than the contract says: pass the ascend ending of the same contract",
    "E10041": "the model file is damaged: build it again",
    "E10052": "compare the AIPP configuration that --insert_op_conf names with the ATC user guide",
    "E10054": "an option is empty: an unquoted ';' in --out_nodes does this when the command is typed by hand",
    "E10056": "pass either precision_mode or --precision_mode_v2",
    "E10410": "the file named there does not exist on this machine",
    "E10501": _OPSET_ADVICE,
    "E11017": "the model has no such output: pass the ascend ending of the same contract",
    "E13010": _OPSET_ADVICE,
    "E16002": _OPSET_ADVICE,
    "E16004": "the ONNX file has no graph: build it again",
    "E16005": "the ONNX file imports one opset twice: build it again",
    "E19010": _OPSET_ADVICE,
    "E40000": _PYTHON_ADVICE,
    "EC0010": _PYTHON_ADVICE,
    "EZ3003": "this chip has no kernel for the operator: check the soc_version and that the chip's ops package is installed",
}

_KILLED_ADVICE = "give the machine more memory, or set TE_PARALLEL_COMPILER=1 so that atc compiles one kernel at a time"


def error_line(text: str) -> tuple[str, str] | None:
    """(code, message) of the error that says most: the first that is no warning and no `E19999: Inner Error!`."""
    lines = [(line["code"], line["message"].strip(), line.end()) for line in _CODE_LINE.finditer(text)]
    errors = [entry for entry in lines if entry[0].startswith("E")]
    if not errors:
        return None
    code, message, end = next((entry for entry in errors if entry[0] != "E19999"), errors[0])
    if code == "E19999":  # its own line is always the same; the reason, if any, is the next one
        follows = next((line.strip() for line in text[end:].splitlines() if line.strip()), "")
        message = f"{message} {follows}".strip()
    return code, message[:400]


def diagnose(status: int, text: str) -> tuple[str, str]:
    """(what was found, what to do) for an exit status and the text; the advice is empty if there is none."""
    if status in {-9, 137}:
        return "atc was killed by signal 9 (out of memory?)", _KILLED_ADVICE
    if status < 0 or 128 < status < 160:
        return f"atc was killed by signal {-status if status < 0 else status - 128}", ""
    error, refused = error_line(text), _OPTION_LINE.search(text)
    if refused and (error is None or error[0] == "E19999"):
        code = ""
        sentence = f"atc ended with status {status}: {refused['message'][:400].strip()}"
    elif error:
        code, message = error
        sentence = f"atc ended with status {status}: {code}: {message}"
    else:
        code = ""
        sentence = f"atc ended with status {status}: {last_line(text) or 'it printed nothing'}"
    for pattern, advice in _ADVICE_BY_TEXT:
        if re.search(pattern, text, re.MULTILINE):
            return sentence, advice
    return sentence, _ADVICE_BY_CODE.get(code, "")
