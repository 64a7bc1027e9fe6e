"""What does AIPP do to an input? The configuration of `--insert_op_conf`, its mistakes, and its arithmetic in numpy.

Order and formula are the ATC user guide's: channel swap, crop, (colour conversion,) `(pixel - mean_chn - min_chn) *
var_reci_chn` in fp16 with indices counted after the swap, padding. Static RGB888_U8 is imitated, everything else refused
with E10055. Mistakes are E10052; for what protobuf itself cannot parse, the newest atc has nothing but E19999.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator.aipp_text import Fields, parse
from fcos_lib.emulator.atc_errors import AtcError

MAX_BYTES = 64 * 1024
_NARROW = re.compile(r"Ascend(310|310P\d|910|910A|910Pro[AB])")
"""Chips whose padded width ends at 1080; elsewhere it is 4096 (ATC user guide)."""
_FORMATS = ("YUV420SP_U8", "XRGB8888_U8", "RGB888_U8", "YUV400_U8")
_RANGES = (
    *((f"mean_chn_{channel}", 0, 255) for channel in range(4)),
    *((f"min_chn_{channel}", 0, 255) for channel in range(4)),
    *((f"var_reci_chn_{channel}", -65504, 65504) for channel in range(4)),
    *((f"{side}_padding_size", 0, 32) for side in ("left", "right", "top", "bottom")),
    *((f"load_start_pos_{axis}", 0, 4095) for axis in "wh"),
    *((f"crop_size_{axis}", 0, 4096) for axis in "wh"),
    *((f"src_image_size_{axis}", 0, 4096) for axis in "wh"),
    ("padding_value", -65504, 65504),
    ("related_input_rank", 0, 2**31 - 1),
)
_NOT_MODELLED = ("csc_switch", "resize", "ax_swap_switch", "single_line_mode", "support_rotation", "rotation_angle")


@dataclass(frozen=True, slots=True)
class Aipp:
    """What happens to one input, with every size settled."""

    rank: int
    """Which input of the model."""
    width: int
    """Columns of the picture that comes in."""
    height: int
    """Rows of the picture that comes in."""
    swap: bool = False
    """Whether channels 0 and 2 change places."""
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Left, top, width, height of what is kept."""
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Pixels left, right, above and below."""
    padding_value: float = 0.0
    mean: tuple[int, ...] = (0, 0, 0)
    minimum: tuple[float, ...] = (0.0, 0.0, 0.0)
    factor: tuple[float, ...] = (1.0, 1.0, 1.0)

    def apply(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8[N, height, width, 3] → float32[N, 3, H, W] with fp16 values, as the graph takes them."""
        left, top, width, height = self.crop
        kept = pictures[:, top : top + height, left : left + width]
        planes = (kept[..., ::-1] if self.swap else kept).transpose(0, 3, 1, 2)
        before, after, above, below = self.padding
        shape = (len(pictures), 3, above + height + below, before + width + after)
        result = np.full(shape, np.float16(self.padding_value), np.float32)
        # A byte has 256 values: each channel is a table of what fp16 makes of them.
        bytes_ = np.arange(256, dtype=np.float16)
        for channel in range(3):
            centred = (bytes_ - np.float16(self.mean[channel])) - np.float16(self.minimum[channel])
            with np.errstate(over="ignore"):
                table = (centred * np.float16(self.factor[channel])).astype(np.float32)
            result[:, channel, above : above + height, before : before + width] = table[planes[:, channel]]
        return result


def read_config(path: Path) -> list[Fields]:
    """The aipp_ops of a configuration file; E10001 if there is no such file, E10052 for what cannot be right."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = f"realpath error, errmsg:{os.strerror(error.errno or errno.ENOENT)}"
        raise AtcError("E10001", path, "--insert_op_conf", reason) from error
    if len(data) > MAX_BYTES:
        raise AtcError("E10052", f"The file {path} has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        found = parse(data.decode())
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise AtcError("E10052", f"Read AIPP conf file error: {path}, {error}") from error
    for fields in found:
        _check(fields)
    return found


def _check(fields: Fields) -> None:
    """E10052 and E10055 for what shows without the model, in the words of the Graph Engine where it has some."""
    mode = fields.one("aipp_mode", "")
    if mode not in ("static", "dynamic"):
        raise AtcError("E10052", "When insert AIPP op, aipp_mode must be configured as static or dynamic")
    for name in fields.repeated():
        raise AtcError("E10052", f"The parameter {name} can not be configured repeatedly")
    if mode == "dynamic":
        if fields.one("max_src_image_size", 0) <= 0:
            reason = "For dynamic AIPP params, max_src_image_size must be set which number should be greater than 0"
            raise AtcError("E10052", reason)
        raise AtcError("E10055", "the stand-in does not imitate dynamic AIPP")
    if fields.one("input_format", "") not in _FORMATS:
        raise AtcError("E10052", "Input format of AIPP conf must be set in static aipp")
    for name, lowest, highest in _RANGES:
        value = fields.one(name, 0)
        if value < 0 and name.endswith(("_w", "_h", "_padding_size")):
            raise AtcError("E10052", f"{name.capitalize()} must not be configured smaller than 0")
        if not lowest <= value <= highest:
            raise AtcError("E10052", f"{name} is {value}, the value range is [{lowest}, {highest}]")
    if fields.one("src_image_size_w", 0) == 1:
        raise AtcError("E10052", "src_image_size_w is 1, the value range is [2, 4096] or 0")
    changes_size = fields.one("crop", False) or fields.one("padding", False)
    if changes_size and not (fields.one("src_image_size_w", 0) and fields.one("src_image_size_h", 0)):
        raise AtcError("E10052", "src_image_size_w and src_image_size_h must be set when crop or padding is true")
    if fields.one("input_format", "") != "RGB888_U8":
        raise AtcError("E10055", f"the stand-in does not imitate AIPP's {fields.one('input_format', '')}")
    for name in _NOT_MODELLED:
        if fields.one(name, False):
            raise AtcError("E10055", f"the stand-in does not imitate AIPP's {name}")
    for name in ("input_edge_idx", "related_input_name"):
        if fields.one(name, None) is not None:
            raise AtcError("E10055", f"the stand-in does not imitate AIPP's {name}")


def settle(found: list[Fields], shapes: list[tuple[int, ...]], soc_version: str) -> tuple[Aipp, ...]:
    """The operators for inputs of these shapes; E10052 where sizes do not fit together."""
    settled: dict[int, Aipp] = {}
    for fields in found:
        rank = fields.one("related_input_rank", 0)
        if rank in settled:
            reason = "Can not insert aipp op to the same postion! please check related_input_rank and input_edge_idx"
            raise AtcError("E10052", reason)  # the spelling is the Graph Engine's
        if rank >= len(shapes):
            raise AtcError("E10052", f"Can not find the data node by index {rank}")
        settled[rank] = _settled(fields, rank, shapes[rank], soc_version)
    return tuple(settled.values())


def _settled(fields: Fields, rank: int, shape: tuple[int, ...], soc_version: str) -> Aipp:
    if len(shape) != 4 or shape[1] != 3:
        raise AtcError("E10052", f"The input of AIPP must be [N, 3, H, W] for RGB888_U8, it is {list(shape)}")
    rows, columns = shape[2:]
    width = fields.one("src_image_size_w", 0) or columns
    height = fields.one("src_image_size_h", 0) or rows
    crop = (0, 0, width, height)
    padding = (0, 0, 0, 0)
    if fields.one("padding", False):
        left, right, top, bottom = (
            fields.one(f"{side}_padding_size", 0) for side in ("left", "right", "top", "bottom")
        )
        padding = (left, right, top, bottom)
    if fields.one("crop", False):
        crop = (
            fields.one("load_start_pos_w", 0), fields.one("load_start_pos_h", 0),
            fields.one("crop_size_w", 0) or columns, fields.one("crop_size_h", 0) or rows,
        )  # fmt: skip
        if crop[0] + crop[2] > width or crop[1] + crop[3] > height:
            raise AtcError("E10052", f"The crop {list(crop)} leaves the picture of {width} x {height}")
    out_width, out_height = crop[2] + padding[0] + padding[1], crop[3] + padding[2] + padding[3]
    widest = 1080 if _NARROW.fullmatch(soc_version) else 4096
    if fields.one("padding", False) and out_width > widest:
        raise AtcError("E10052", f"After padding, the width is {out_width}, more than {widest} on {soc_version}")
    if (out_width, out_height) != (columns, rows):
        reason = (
            "the data output H and W is not equal with aipp output H and W. "
            f"aipp output_height:{out_height}, aipp output_width:{out_width}, "
            f"data's height:{rows}, data's width:{columns}"
        )
        raise AtcError("E10052", reason)
    return Aipp(
        rank, width, height, fields.one("rbuv_swap_switch", False), crop, padding,
        float(fields.one("padding_value", 0.0)),
        tuple(fields.one(f"mean_chn_{channel}", 0) for channel in range(3)),
        tuple(float(fields.one(f"min_chn_{channel}", 0.0)) for channel in range(3)),
        tuple(float(fields.one(f"var_reci_chn_{channel}", 1.0)) for channel in range(3)),
    )  # fmt: skip


def from_json(item: dict[str, Any]) -> Aipp:
    """An `Aipp` from the OM's header, where tuples are lists."""
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in item.items()}
    return Aipp(**plain)
