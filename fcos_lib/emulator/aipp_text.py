"""How does atc read an AIPP configuration? Protobuf's text format: `aipp_op { key: value }` blocks, comments behind `#`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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

    def one(self, name: str, default: Any) -> Any:
        """The field's first value, or `default`."""
        return self.values[name][0] if name in self.values else default

    def repeated(self) -> Iterator[str]:
        """Fields that were given more than once."""
        return (name for name, values in self.values.items() if len(values) > 1)


def parse(text: str) -> list[Fields]:
    """The `aipp_op` blocks of a file; `ValueError` says what cannot be read."""
    tokens = _tokens(text)
    found = []
    while tokens:
        name = tokens.pop(0)
        if name != "aipp_op":
            raise ValueError(f'Message type "domi.InsertNewOps" has no field named "{name}"')
        if tokens[:1] == [":"]:
            tokens.pop(0)
        if not tokens or tokens.pop(0) != "{":
            raise ValueError('Expected "{"')
        found.append(_block(tokens))
    return found


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
    tokens, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"Invalid character {text[place]!r}")
        if match["token"]:
            tokens.append(match["token"])
        place = match.end()
    return tokens
