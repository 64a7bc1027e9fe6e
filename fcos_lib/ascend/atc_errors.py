"""The mistakes that `atc` reports, and what helps: reads the text that it prints when it fails.

Texts and codes are those of the ATC user guide and of the Graph Engine's error registry, CANN 6 to 9.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcos_lib.ascend.process import last_line
from fcos_lib.files import one_line, read_plain, whole_number

_CODE_LINE = re.compile(
    r"^[ \t]*(?:\[PID: \d+\] \S+ )?(?P<code>[EW][A-Z0-9]\d{4})(?::|[ \t])[ \t]*(?:\[PID: \d+\] \S+ )?(?P<message>.*)$",
    re.MULTILINE,
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

REPORT_NAME = "check_result.json"
"""What atc writes into its working folder when it cannot parse a model (ATC user guide, `--check_report`)."""
_REPORT_BYTES = 16 << 20
_MOST_OPERATORS = 20
_BRANCH = re.compile(r"_ascend_mbatch_batch_\d+")
"""What atc adds to the name of an operator in the branch of one profile."""
_OPERATORS = tuple(re.compile(pattern, re.MULTILINE) for pattern in (
    r"No (?:ONNX )?parser is registered for Op \[(?P<name>[^\],]+), optype \[(?P<kind>[^\]]+)\]",
    r"No operator plugin is registered for Op: (?P<name>[^,\n]+), optype: (?P<kind>[\w.:]+\w)",
    r"IR for Op (?P<name>\S+) with optype (?P<kind>\S+) is not registered",
    r"No supported Ops kernel and engine are found for \[(?P<name>[^\]]+)\], optype \[(?P<kind>[^\]]+)\]",
    r"E20001\b[^\n]*?(?P<name>[^\s\[\]'\"(),]+)_ascend_mbatch_batch_\d+(?P<kind>)",
))  # fmt: skip
"""The sentences that name an operator, wherever they stand: under `TraceBack` there may be more than in the message."""

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
    return code, _BRANCH.sub("", message)[:400]


@dataclass(frozen=True, slots=True)
class BadOperator:
    """An operator that atc could not compile."""

    node: str
    """The name of its node in the ONNX."""
    kind: str = ""
    """Its type as atc has it, `ai.onnx::11::Resize` or `Resize`; empty if it does not say."""
    cause: str = ""
    """What atc's JSON report says about it, if that is more than the message."""

    def __str__(self) -> str:
        module = module_of(self.node)
        where = f", module {module}" if module else ""
        kind = f", {self.kind}" if self.kind else ""
        cause = f" ({self.cause})" if self.cause else ""
        return f"node '{one_line(self.node, 200)}'{where}{kind}{cause}: {self._advice()}"

    def _advice(self) -> str:
        domain, _, rest = self.kind.partition("::")
        opset = rest.partition("::")[0]
        if "BatchMultiClassNMS" in self.kind or (opset.isdecimal() and int(opset) > 13):
            return "export the model at opset 11"
        if opset and domain != "ai.onnx":
            return "it is no operator of ONNX: pass the ascend ending"
        return "replace it in the export by operators that this CANN has, or use its ops package for this chip"


def module_of(node: str) -> str:
    """The PyTorch module behind a node's name, which torch's exporter makes of modules; empty if it is in none.

    `/backbone/layer1/layer1.0/conv1/Conv` is of `backbone.layer1.0.conv1`: children of a list carry its name again.
    """
    names: list[str] = []
    for name in [part for part in node.split("/")[:-1] if part]:
        if names and name.startswith(f"{names[-1]}."):
            names.pop()
        names.append(name)
    return ".".join(names) if node.startswith("/") else ""


def bad_operators(text: str, folder: Path | None = None) -> list[BadOperator]:
    """Every operator that atc's output names, or the JSON report in its working folder; each once, in that order."""
    operators: dict[str, BadOperator] = {}
    named = sorted(
        (match for pattern in _OPERATORS for match in pattern.finditer(text)), key=lambda match: match.start()
    )
    for match in named:
        node = _BRANCH.sub("", match["name"]).strip()
        operators.setdefault(node, BadOperator(node, match["kind"]))
    for entry in _report(folder / REPORT_NAME) if folder else ():
        node = _BRANCH.sub("", str(entry["name"]))
        causes = [str(cause.get("message", "")) for cause in entry["cause"] if isinstance(cause, dict)]
        kind = operators[node].kind if node in operators else one_line(str(entry.get("type", "")), 100)
        operators[node] = BadOperator(node, kind, one_line("; ".join(filter(None, causes)), 300))
    return list(operators.values())


def _report(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a JSON report that have a name and causes, however deep they are; none if it cannot be read."""
    try:
        rest: list[Any] = [json.loads(read_plain(path, _REPORT_BYTES), parse_int=whole_number)]
    except (OSError, ValueError, RecursionError):
        return
    while rest:
        value = rest.pop(0)
        if isinstance(value, dict):
            if value.get("name") and isinstance(value.get("cause"), list) and value["cause"]:
                yield value
            rest += value.values()
        elif isinstance(value, list):
            rest += value


def diagnose(status: int, text: str, folder: Path | None = None) -> tuple[str, str]:
    """(what was found, what to do) for an exit status and the text; the advice is empty if there is none.

    Operators that could not be compiled are listed, those that only the JSON report in `folder` names as well.
    """
    sentence, advice = _diagnose(status, text)
    operators = bad_operators(text, folder)
    listed = [f"\n    {operator}" for operator in operators[:_MOST_OPERATORS]]
    if more := len(operators) - len(listed):
        listed.append(f"\n    and {more} more")
    return sentence + "".join(listed), advice


def _diagnose(status: int, text: str) -> tuple[str, str]:
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
