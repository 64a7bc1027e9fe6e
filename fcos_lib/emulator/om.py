"""What is in the emulator's OM? A first line that says STAND-IN, a JSON header, and two ONNX graphs around the NMS.

    FCOS-EMULATOR STAND-IN OM 1\\n
    {"soc_version": "Ascend310P3", ...}\\n
    <graph before NMS><graph after NMS>

A real runtime refuses such a file at its first byte, and so does the emulator a real OM.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fcos_lib.emulator import STAND_IN, aipp
from fcos_lib.emulator.nms import NmsSettings
from fcos_lib.errors import SessionError

MAGIC = f"FCOS-EMULATOR {STAND_IN} OM 1\n".encode()
_AGAIN = "compile the model again"


@dataclass(frozen=True, slots=True)
class TensorDesc:
    """One input or output of the OM as the runtime describes it."""

    name: str
    dtype: str
    """numpy's name of the element type, such as `float32`."""
    shape: tuple[int, ...]
    nhwc: bool = False
    """The format of four axes is NCHW, but for what AIPP takes."""


@dataclass(frozen=True, slots=True)
class OmHeader:
    """Everything about an OM but its graphs."""

    command: str
    """The `atc` command line."""
    soc_version: str
    atc_version: str
    opp_version: str
    precision_mode: str
    inputs: tuple[TensorDesc, ...]
    outputs: tuple[TensorDesc, ...]
    """In the order of `--out_nodes`; names are `<op>:<index>:<ONNX output>` or `<op>:<index>`."""
    tensors: tuple[str, ...]
    """The graph tensor behind each output."""
    nms: NmsSettings | None
    """None if the graph has no `BatchMultiClassNMS`: everything is in the graph before it."""
    nms_inputs: tuple[str, ...]
    """Graph tensors of boxes and scores."""
    nms_outputs: tuple[str, ...]
    """Graph tensors of boxes, scores, classes and counts; empty names are unused."""
    aipp: tuple[aipp.Aipp, ...] = ()
    """What is done to inputs before the graph sees them."""

    @property
    def batch(self) -> int:
        """Batch size: axis 0 of the first input."""
        return self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else 1


@dataclass(frozen=True, slots=True)
class Om:
    """An OM in memory; the graphs are serialised ONNX, `after` empty if there is no NMS."""

    header: OmHeader
    before: bytes
    after: bytes


def write(path: Path, om: Om) -> None:
    """Write `om` to `path`, not atomically, as `atc` does; OSError if the folder does not allow it."""
    payload = om.before + om.after
    text = asdict(om.header) | {
        "before_bytes": len(om.before),
        "after_bytes": len(om.after),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    path.write_bytes(MAGIC + json.dumps(text).encode() + b"\n" + payload)


def read(path: Path) -> Om:
    """The OM in `path`; `SessionError` if it is missing, cut short, damaged or not the emulator's."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SessionError(f"{path} cannot be read ({error.strerror})", _AGAIN) from error
    if not data.startswith(MAGIC):
        raise SessionError(f"{path} is no OM of the emulator", "run a real OM on the NPU it was compiled for")
    line, found, payload = data[len(MAGIC) :].partition(b"\n")
    try:
        text = json.loads(line)
        before, after, digest = text.pop("before_bytes"), text.pop("after_bytes"), text.pop("sha256")
        header = _header(text)
    except (ValueError, KeyError, TypeError) as error:
        raise SessionError(f"the header of {path} is damaged", _AGAIN) from error
    if not found or len(payload) != before + after:
        raise SessionError(f"{path} is cut short: {len(payload)} of {before + after} payload bytes", _AGAIN)
    if hashlib.sha256(payload).hexdigest() != digest:
        raise SessionError(f"the payload of {path} is damaged: its sha256 is not the header's", _AGAIN)
    return Om(header, payload[:before], payload[before:])


def _header(text: dict[str, Any]) -> OmHeader:
    for key in ("inputs", "outputs"):
        text[key] = tuple(TensorDesc(**item | {"shape": tuple(item["shape"])}) for item in text[key])
    for key in ("tensors", "nms_inputs", "nms_outputs"):
        text[key] = tuple(text[key])
    text["aipp"] = tuple(aipp.from_json(item) for item in text["aipp"])
    text["nms"] = None if text["nms"] is None else NmsSettings(**text["nms"])
    return OmHeader(**text)
