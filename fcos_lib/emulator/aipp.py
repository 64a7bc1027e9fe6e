"""AIPP, which turns bytes into the network's input: the file of `--insert_op_conf`, its mistakes, its arithmetic in numpy.

Order and formula are the ATC user guide's: channel swap, then `(pixel - mean_chn - min_chn) * var_reci_chn` in fp16 with
indices counted after the swap. One static operator on RGB888_U8 of the input's size, which is what the suite writes, is imitated,
everything else refused with E10055. What cannot be read is E10052.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator.atc_errors import AtcError

_OPERATOR = re.compile(r"\s*aipp_op\s*:?\s*\{(?P<fields>[^{}]*)\}\s*")
_FIELD = re.compile(r"(\w+)\s*:\s*([^\s;,]+)[\s;,]*")
_SWITCHES = {"true": True, "false": False}
_DEFAULTS = {"csc_switch": "false", "related_input_rank": "0"}
_RANGES: dict[str, tuple[type[int] | type[float], float, float]] = {
    **{f"mean_chn_{channel}": (int, 0, 255) for channel in range(3)},
    **{f"min_chn_{channel}": (float, 0, 255) for channel in range(3)},
    **{f"var_reci_chn_{channel}": (float, -65504, 65504) for channel in range(3)},
}
"""Fields with a number: its type, the lowest and the highest."""


@dataclass(frozen=True, slots=True)
class Aipp:
    """What happens to the model's input, with every size settled."""

    width: int
    """Columns of the picture that comes in."""
    height: int
    """Rows of the picture that comes in."""
    swap: bool
    """Whether channels 0 and 2 change places."""
    mean: list[float]
    minimum: list[float]
    factor: list[float]

    def apply(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8[N, height, width, 3] → float32[N, 3, height, width] with fp16 values, as the graph takes them."""
        planes = (pictures[..., ::-1] if self.swap else pictures).transpose(0, 3, 1, 2)
        result = np.empty(planes.shape, np.float32)
        # A byte has 256 values: each channel is a table of what fp16 makes of them.
        bytes_ = np.arange(256, dtype=np.float16)
        for channel in range(3):
            centred = (bytes_ - np.float16(self.mean[channel])) - np.float16(self.minimum[channel])
            with np.errstate(over="ignore"):
                table = (centred * np.float16(self.factor[channel])).astype(np.float32)
            result[:, channel] = table[planes[:, channel]]
        return result


def read_config(path: Path, shape: tuple[int, ...]) -> Aipp:
    """The operator of a configuration file for an input [N, 3, H, W].

    E10001 if there is no such file, E10052 for what cannot be read, E10055 for what is not imitated.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = f"realpath error, errmsg:{os.strerror(error.errno or 0)}"
        raise AtcError("E10001", path, "--insert_op_conf", reason) from error
    operator = _OPERATOR.fullmatch(re.sub(r"#.*", "", text))
    if operator is None:
        raise AtcError("E10052", f"Read AIPP conf file error: {path} is not one 'aipp_op {{ ... }}'")
    pairs = _FIELD.findall(operator["fields"])
    rest = _FIELD.sub("", operator["fields"]).strip()
    if rest or len(dict(pairs)) < len(pairs):
        raise AtcError(
            "E10052", f"Read AIPP conf file error: {path}, {f'near {rest[:40]!r}' if rest else 'a field twice'}"
        )
    if len(shape) != 4 or shape[1] != 3:
        raise AtcError("E10052", f"The input of AIPP must be [N, 3, H, W] for RGB888_U8, it is {list(shape)}")
    rows, columns = shape[2:]
    sizes = {"src_image_size_w": str(columns), "src_image_size_h": str(rows)}
    fields = {"rbuv_swap_switch": "false", **_DEFAULTS, **sizes, **dict(pairs)}
    for name, value in {"aipp_mode": "static", "input_format": "RGB888_U8", **_DEFAULTS, **sizes}.items():
        if (given := fields.pop(name, "not set")) != value:
            raise AtcError("E10055", f"the stand-in imitates AIPP with {name}: {value} for this input, it is {given}")
    swap = fields.pop("rbuv_swap_switch")
    if swap not in _SWITCHES:
        raise AtcError("E10052", f'Invalid value for boolean field "rbuv_swap_switch". Value: "{swap}"')
    numbers = {name: _number(name, value) for name, value in fields.items()}
    mean, minimum, factor = (
        [numbers.get(f"{name}_{channel}", default) for channel in range(3)]
        for name, default in (("mean_chn", 0), ("min_chn", 0.0), ("var_reci_chn", 1.0))
    )
    return Aipp(columns, rows, _SWITCHES[swap], mean, minimum, factor)


def _number(name: str, text: str) -> Any:
    """The value of a field; E10055 for one that is not imitated, E10052 for no number, or none that the device takes."""
    if name not in _RANGES:
        raise AtcError("E10055", f"the stand-in does not imitate AIPP's {name}")
    kind, lowest, highest = _RANGES[name]
    try:
        value = kind(text)
    except ValueError:
        raise AtcError("E10052", f"Expected {'integer' if kind is int else 'double'}, got: {text} for {name}") from None
    if not lowest <= value <= highest:
        raise AtcError("E10052", f"{name} is {text}, the value range is [{lowest}, {highest}]")
    return value
