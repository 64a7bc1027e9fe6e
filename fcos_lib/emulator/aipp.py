"""AIPP, which turns bytes into the network's input: the file of `--insert_op_conf`, its mistakes, its arithmetic in numpy.

Order and formula are the ATC user guide's: channel swap, then `(pixel - mean_chn - min_chn) * var_reci_chn` in fp16 with
indices counted after the swap. Static RGB888_U8 of the input's size is imitated, everything else refused with E10055.
Mistakes are E10052; for what protobuf itself cannot parse, the newest atc has nothing but E19999. The file is protobuf's text
format: `aipp_op { key: value }` blocks, comments behind `#`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.emulator.atc_errors import AtcError

MAX_BYTES = 64 * 1024
_FORMATS = ("YUV420SP_U8", "XRGB8888_U8", "RGB888_U8", "YUV400_U8")
_RANGES = (
    *((f"mean_chn_{channel}", 0, 255) for channel in range(4)),
    *((f"min_chn_{channel}", 0, 255) for channel in range(4)),
    *((f"var_reci_chn_{channel}", -65504, 65504) for channel in range(4)),
    *((f"src_image_size_{axis}", 0, 4096) for axis in "wh"),
    ("related_input_rank", 0, 2**31 - 1),
)
_NOT_MODELLED = (
    "crop", "padding", "csc_switch", "resize", "ax_swap_switch", "single_line_mode", "support_rotation", "rotation_angle",
)  # fmt: skip
_TOKEN = re.compile(r"""\s+|\#[^\n]*|(?P<token>[{}:;,<>]|"[^"\n]*"|'[^'\n]*'|[^\s{}:;,<>\#"']+)""")
_INTEGERS = (
    "related_input_rank", "max_src_image_size", "src_image_size_w", "src_image_size_h", "load_start_pos_w",
    "load_start_pos_h", "crop_size_w", "crop_size_h", "resize_output_w", "resize_output_h", "left_padding_size",
    "right_padding_size", "top_padding_size", "bottom_padding_size", "rotation_angle", "raw_rgbir_to_f16_n",
    "mean_chn_0", "mean_chn_1", "mean_chn_2", "mean_chn_3",
)  # fmt: skip
_FLOATS = ("cpadding_value", "padding_value", "min_chn_0", "min_chn_1", "min_chn_2", "min_chn_3")
_BOOLEANS = (
    "support_rotation", "crop", "resize", "padding", "csc_switch", "rbuv_swap_switch", "ax_swap_switch",
    "single_line_mode",
)  # fmt: skip
_LISTS: dict[str, type[int] | type[float]] = (
    dict.fromkeys((f"matrix_r{row}c{column}" for row in range(3) for column in range(3)), int)
    | dict.fromkeys((f"{side}put_bias_{channel}" for side in ("in", "out") for channel in range(3)), int)
    | dict.fromkeys((f"var_reci_chn_{channel}" for channel in range(4)), float)
    | {"input_edge_idx": int}
)
"""Fields that the text format may repeat and atc may not."""
_WORDS = ("aipp_mode", "input_format", "related_input_name")
_KINDS: dict[str, Any] = (
    dict.fromkeys(_INTEGERS, int) | dict.fromkeys(_FLOATS, float) | dict.fromkeys(_BOOLEANS, bool)
    | dict.fromkeys(_WORDS, str) | _LISTS
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fields:
    """One `aipp_op` block: every value of every field, in order."""

    values: dict[str, list[Any]]

    def first(self, name: str, default: Any) -> Any:
        """The field's first value, or `default`."""
        return self.values[name][0] if name in self.values else default

    def repeated(self) -> Iterator[str]:
        """Fields that were given more than once."""
        return (name for name, values in self.values.items() if len(values) > 1)


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
    mean: tuple[int, ...] = (0, 0, 0)
    minimum: tuple[float, ...] = (0.0, 0.0, 0.0)
    factor: tuple[float, ...] = (1.0, 1.0, 1.0)

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
        operators = parse(data.decode())
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise AtcError("E10052", f"Read AIPP conf file error: {path}, {error}") from error
    for fields in operators:
        _check(fields)
    return operators


def _check(fields: Fields) -> None:
    """E10052 and E10055 for what shows without the model, in the words of the Graph Engine where it has some."""
    mode = fields.first("aipp_mode", "")
    if mode not in ("static", "dynamic"):
        raise AtcError("E10052", "When insert AIPP op, aipp_mode must be configured as static or dynamic")
    for name in fields.repeated():
        raise AtcError("E10052", f"The parameter {name} can not be configured repeatedly")
    if mode == "dynamic":
        if fields.first("max_src_image_size", 0) <= 0:
            reason = "For dynamic AIPP params, max_src_image_size must be set which number should be greater than 0"
            raise AtcError("E10052", reason)
        raise AtcError("E10055", "the stand-in does not imitate dynamic AIPP")
    if fields.first("input_format", "") not in _FORMATS:
        raise AtcError("E10052", "Input format of AIPP conf must be set in static aipp")
    for name, lowest, highest in _RANGES:
        value = fields.first(name, 0)
        if value < 0 and name.startswith("src_image_size"):
            raise AtcError("E10052", f"{name.capitalize()} must not be configured smaller than 0")
        if not lowest <= value <= highest:
            raise AtcError("E10052", f"{name} is {value}, the value range is [{lowest}, {highest}]")
    if fields.first("input_format", "") != "RGB888_U8":
        raise AtcError("E10055", f"the stand-in does not imitate AIPP's {fields.first('input_format', '')}")
    refused = [name for name in _NOT_MODELLED if fields.first(name, False)]
    for name in [*refused, *fields.values.keys() & {"input_edge_idx", "related_input_name"}]:
        raise AtcError("E10055", f"the stand-in does not imitate AIPP's {name}")


def settle(operators: list[Fields], shapes: list[tuple[int, ...]]) -> tuple[Aipp, ...]:
    """The operators for inputs of these shapes; E10052 where sizes do not fit together."""
    settled: dict[int, Aipp] = {}
    for fields in operators:
        rank = fields.first("related_input_rank", 0)
        if rank in settled:
            reason = "Can not insert aipp op to the same postion! please check related_input_rank and input_edge_idx"
            raise AtcError("E10052", reason)  # the spelling is the Graph Engine's
        if rank >= len(shapes):
            raise AtcError("E10052", f"Can not find the data node by index {rank}")
        settled[rank] = _settled(fields, rank, shapes[rank])
    return tuple(settled.values())


def _settled(fields: Fields, rank: int, shape: tuple[int, ...]) -> Aipp:
    if len(shape) != 4 or shape[1] != 3:
        raise AtcError("E10052", f"The input of AIPP must be [N, 3, H, W] for RGB888_U8, it is {list(shape)}")
    rows, columns = shape[2:]
    width = fields.first("src_image_size_w", 0) or columns
    height = fields.first("src_image_size_h", 0) or rows
    if (width, height) != (columns, rows):
        reason = (
            "the data output H and W is not equal with aipp output H and W. "
            f"aipp output_height:{height}, aipp output_width:{width}, data's height:{rows}, data's width:{columns}"
        )
        raise AtcError("E10052", reason)
    return Aipp(
        rank, width, height, fields.first("rbuv_swap_switch", False),
        tuple(fields.first(f"mean_chn_{channel}", 0) for channel in range(3)),
        tuple(float(fields.first(f"min_chn_{channel}", 0.0)) for channel in range(3)),
        tuple(float(fields.first(f"var_reci_chn_{channel}", 1.0)) for channel in range(3)),
    )  # fmt: skip


def from_json(item: dict[str, Any]) -> Aipp:
    """An `Aipp` from the OM's header, where tuples are lists."""
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in item.items()}
    return Aipp(**plain)


def parse(text: str) -> list[Fields]:
    """The `aipp_op` blocks of a file; `ValueError` says what cannot be read."""
    tokens = _tokens(text)
    operators = []
    while tokens:
        name = tokens.pop(0)
        if name != "aipp_op":
            raise ValueError(f'Message type "domi.InsertNewOps" has no field named "{name}"')
        if tokens[:1] == [":"]:
            tokens.pop(0)
        if not tokens or tokens.pop(0) != "{":
            raise ValueError('Expected "{"')
        operators.append(_block(tokens))
    return operators


def _block(tokens: list[str]) -> Fields:
    """The fields up to the closing brace, taken off the list."""
    values: dict[str, list[Any]] = {}
    while tokens:
        name = tokens.pop(0)
        if name == "}":
            return Fields(values)
        if name in (";", ","):
            continue
        if name not in _KINDS:
            raise ValueError(f'Message type "domi.AippOpParams" has no field named "{name}"')
        if len(tokens) < 2 or tokens.pop(0) != ":":
            raise ValueError(f'Expected ":" and a value behind "{name}"')
        if name in values and name not in _LISTS:
            raise ValueError(f'Non-repeated field "{name}" is specified multiple times')
        values.setdefault(name, []).append(_value(name, tokens.pop(0)))
    raise ValueError('Expected "}"')


def _value(name: str, token: str) -> Any:
    kind = _KINDS[name]
    if kind is bool:
        if token.lower() not in ("true", "false", "t", "f", "1", "0"):
            raise ValueError(f'Invalid value for boolean field "{name}". Value: "{token}"')
        return token.lower() in ("true", "t", "1")
    if kind is str:
        return token.strip("\"'")
    try:
        return int(token, 0) if kind is int else float(token.rstrip("fF"))
    except ValueError:
        raise ValueError(f"Expected {'integer' if kind is int else 'double'}, got: {token}") from None


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"Invalid character {text[position]!r}")
        if match["token"]:
            tokens.append(match["token"])
        position = match.end()
    return tokens
