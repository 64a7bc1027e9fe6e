"""Which mistakes does `atc` see in its options before it opens the model? In its order, with its codes."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from fcos_lib.emulator import atc_options
from fcos_lib.emulator.atc_errors import AtcError

ROUNDING_MODES = frozenset({"force_fp16", "fp16"})
EXACT_MODES = frozenset({"force_fp32", "must_keep_origin_dtype", "origin"})
"""Modes without rounding before the NMS. (The device's force_fp32 still gives convolutions fp16 inputs.)"""
_MODES = frozenset((
    "force_fp16", "force_fp32", "cube_fp16in_fp32out", "allow_mix_precision", "allow_fp32_to_fp16",
    "must_keep_origin_dtype", "allow_mix_precision_fp16", "allow_mix_precision_bf16", "allow_fp32_to_bf16",
))  # fmt: skip
_MODES_V2 = frozenset((
    "fp16", "origin", "cube_fp16in_fp32out", "mixed_float16", "mixed_bfloat16",
))  # fmt: skip
_SOC = re.compile(r"Ascend(310|310P[1-7]|310B[1-4]|910|910(Pro)?[AB]|910B[1-4](-1)?|910_\d{4}|950\w*)")
_IMPLEMENTATION_MODES = ("high_precision", "high_performance", "high_precision_for_all", "high_performance_for_all")
_BOOLEANS = ("true", "false")
_FRAMEWORKS = {"0": "Caffe", "1": "MindSpore", "3": "TensorFlow", "5": "Onnx"}


def check(options: dict[str, str]) -> None:
    """`AtcError` for the first mistake that shows without reading the model, in the order in which atc looks."""
    if options.get("auto_tune_mode"):
        reason = "The Auto Tune function has been deprecated. Please use the AOE tool for tuning."
        raise AtcError("E10001", options["auto_tune_mode"], "--auto_tune_mode", reason)
    if options["framework"] not in _FRAMEWORKS:
        raise AtcError("E10007", "--framework", " or ".join(f"{key}({name})" for key, name in _FRAMEWORKS.items()))
    for name in ("soc_version", "output", "model"):
        if not options[name]:
            raise AtcError("E10054", f"--{name}")
    if not Path(options["model"]).is_file():
        raise AtcError("E13000", options["model"], os.strerror(errno.ENOENT))
    if not re.fullmatch(r"[A-Za-z0-9_./\-\u4e00-\u9fa5]+", options["output"]) or options["output"].endswith("/"):
        raise AtcError("E10001", options["output"], "--output", "The path has characters other than a-z A-Z 0-9 _ - .")
    if not _SOC.fullmatch(options["soc_version"]):
        raise AtcError("E10001", options["soc_version"], "--soc_version", "The value is not a known SoC version.")
    if options["input_format"] not in ("NCHW", "ND", "NCDHW"):
        reason = "Only NCHW, ND and NCDHW are supported for ONNX."
        raise AtcError("E10001", options["input_format"], "--input_format", reason)
    if options["log"] not in ("debug", "info", "warning", "error", "null"):
        raise AtcError("E10010", options["log"])
    for name, values, code in (("disable_reuse_memory", "01", "E10006"), ("enable_single_stream", _BOOLEANS, "E10005")):
        if options.get(name) and options[name] not in values:
            raise AtcError(code, options[name], name)
    _check_dynamic(options)
    _check_precision(options)
    if options["op_select_implmode"] not in ("", *_IMPLEMENTATION_MODES):
        reason = f"The current value is not within the valid range {list(_IMPLEMENTATION_MODES)}."
        raise AtcError("E10001", options["op_select_implmode"], "--op_select_implmode", reason)
    if options.get("optypelist_for_implmode") and not options["op_select_implmode"]:
        raise AtcError("E10057", "optypelist_for_implmode", "op_select_implmode")
    if options["framework"] != "5":
        raise AtcError("E10055", f"the stand-in reads ONNX only, not {_FRAMEWORKS[options['framework']]}")
    for name in ("keep_dtype", "compress_weight_conf"):
        if options.get(name) and not Path(options[name]).is_file():
            raise AtcError("E10410", options[name])
    for name in sorted(atc_options.NOT_MODELLED.intersection(options)):
        raise AtcError("E10055", f"the stand-in does not imitate --{name}")


def _check_dynamic(options: dict[str, str]) -> None:
    dynamic = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims", "input_shape_range")
    if sum(bool(options.get(name)) for name in dynamic) > 1:
        raise AtcError("E10009")
    if options.get("insert_op_conf") and options.get("dynamic_dims"):
        raise AtcError("E10001", options["insert_op_conf"], "--insert_op_conf", "dynamic_dims is set as well")
    sizes = options.get("dynamic_batch_size")
    if not sizes:
        return
    if not options.get("input_shape"):
        raise AtcError("E10004", "input_shape")
    if "~" in options["input_shape"]:
        raise AtcError("E10040")
    shapes = input_shapes(options["input_shape"], lowest=-1)
    if not any(shape[0] == -1 for shape in shapes.values() if shape):
        raise AtcError("E10031")
    if any(size == -1 for shape in shapes.values() for size in shape[1:]):
        raise AtcError("E10018", options["input_shape"], "1")
    profiles = [part.strip() for part in sizes.split(",")]
    for profile in profiles:
        if not profile.isdigit() or int(profile) < 1:
            raise AtcError("E10038", profile)
    if len(profiles) < 2:
        raise AtcError("E10035", len(profiles), 2)
    if len(profiles) > 100:
        raise AtcError("E10036", len(profiles), 100)
    if len(set(profiles)) != len(profiles):
        raise AtcError("E10039")


def dynamic_batches(options: dict[str, str]) -> tuple[int, ...]:
    """The profiles of `--dynamic_batch_size`, rising; empty if it was not given."""
    return tuple(sorted(int(size) for size in options.get("dynamic_batch_size", "").split(",") if size.strip()))


def _check_precision(options: dict[str, str]) -> None:
    first, second = options["precision_mode"], options["precision_mode_v2"]
    if first and second:
        raise AtcError("E10056", "precision_mode", "precision_mode_v2")
    for name, value, known in (("precision_mode", first, _MODES), ("precision_mode_v2", second, _MODES_V2)):
        if value and value not in known:
            reason = f"The current value is not within the valid range {sorted(known)}."
            raise AtcError("E10001", value, f"--{name}", reason)
    if precision_mode(options) not in ROUNDING_MODES | EXACT_MODES:
        raise AtcError("E10055", f"the stand-in does not imitate precision mode {precision_mode(options)}")


def precision_mode(options: dict[str, str]) -> str:
    """The mode that applies: either option's, or the default."""
    return options["precision_mode"] or options["precision_mode_v2"] or "force_fp16"


def input_shapes(text: str, lowest: int = 1) -> dict[str, tuple[int, ...]]:
    """`--input_shape` as name → sizes; E10002 for the form, E10011 for a size below `lowest` or 0."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part in filter(None, text.split(";")):
        name, colon, sizes = part.rpartition(":")
        numbers = [size.strip() for size in sizes.split(",")]
        if not colon or not name or not all(re.fullmatch(r"-?\d+", number) for number in numbers):
            raise AtcError("E10002", text, "the shape is not a list of integers", "input_name1:n1,c1,h1,w1")
        for number in numbers:
            if int(number) < lowest or int(number) == 0:
                raise AtcError("E10011", text, number)
        shapes[name.strip()] = tuple(int(number) for number in numbers)
    return shapes
