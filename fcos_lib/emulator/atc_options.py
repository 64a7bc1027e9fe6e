"""The options of the emulated `atc`: how they are read, and which are refused."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from fcos_lib.emulator.atc_errors import AtcError

DEFAULTS = {
    "mode": "0", "framework": "", "model": "", "weight": "", "output": "", "soc_version": "", "input_format": "NCHW",
    "precision_mode": "", "precision_mode_v2": "", "op_select_implmode": "", "log": "null", "om": "", "json": "",
}  # fmt: skip
"""Options with a meaning here, and what they are when absent; every other option is left out of the mapping."""

HARMLESS = frozenset((
    "aicore_num", "atomic_clean_policy", "buffer_optimize", "check_report", "core_type", "debug_dir",
    "deterministic", "device_id", "disable_reuse_memory", "display_model_info", "dump_mode",
    "enable_graph_parallel", "enable_single_stream", "fusion_switch_file", "host_env_cpu", "host_env_os",
    "input_format", "is_input_adjust_hw_layout", "log", "mdl_bank_path", "oo_level", "op_bank_path",
    "op_compiler_cache_dir", "op_compiler_cache_mode", "op_debug_config", "op_debug_level",
    "op_select_implmode", "optypelist_for_implmode", "save_original_model", "status_check",
    "tiling_schedule_optimize", "virtual_type",
))  # fmt: skip
"""Options that change where files lie or how fast kernels are, not what the model computes: accepted, without effect."""

NOT_MODELLED = frozenset((
    "ac_parallel_enable", "auto_tune_mode", "cluster_config", "compress_weight_conf",
    "compression_optimize_conf", "customize_dtypes", "dynamic_dims", "dynamic_image_size",
    "enable_compress_weight", "enable_small_channel", "external_weight", "input_fp16_nodes", "input_hint_shape",
    "input_shape_range", "is_output_adjust_hw_layout", "is_weight_clip", "keep_dtype",
    "modify_mixlist", "op_name_map", "op_precision_mode", "output_type", "quant_dumpable", "singleop",
    "sparsity",
))  # fmt: skip
"""Options that change the model's interface or numbers in ways the emulator does not imitate: refused (E10055)."""

_MODELLED = frozenset(DEFAULTS) | {"dynamic_batch_size", "input_shape", "insert_op_conf", "out_nodes", "help"}
NAMES = tuple(sorted(_MODELLED | HARMLESS | NOT_MODELLED))
_DESCRIPTIONS = {
    "model": "Model file",
    "output": "Output file path and name(needn't suffix, will add .om automatically).",
    "framework": "Framework type. 0:Caffe; 1:MindSpore; 3:Tensorflow; 5:Onnx",
    "soc_version": "The soc version.",
    "input_shape": "Shape of static input data or shape range of dynamic input.",
    "out_nodes": "Output nodes designated by users.",
}


class CommandLineError(Exception):
    """The command line cannot be read; the text is what goes to stderr."""


def parse(arguments: list[str]) -> dict[str, str]:
    """The options that were given, by full name; `help` ends the reading. `CommandLineError` as atc words it."""
    options: dict[str, str] = {}
    words: list[str] = []
    rest = [_normalised(argument) for argument in arguments]
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            words += rest
            break
        if argument in ("-h", "--h"):
            return options | {"help": ""}
        if not argument.startswith("-") or argument == "-":
            words.append(argument)
            continue
        typed, equals, value = argument.partition("=")
        name = _full_name(typed)
        if name == "help":
            return options | {"help": ""}
        if not equals:
            if not rest:
                raise CommandLineError(f"ERROR: flag '{typed}' is missing its argument{_description(name)}")
            value = rest.pop(0)
        options[name] = value
    if words:
        raise CommandLineError("\n".join(f"ERROR: Non-option parameter: {word}" for word in words))
    return options


def _normalised(argument: str) -> str:
    """Two dashes before a name, and `_` for `-` inside it."""
    name, equals, value = re.sub(r"^-(?=[A-Za-z]{2})", "--", argument).partition("=")
    if re.match(r"--[A-Za-z]{2}", name):
        name = name[:2] + name[2:].replace("-", "_")
    return name + equals + value


def _full_name(typed: str) -> str:
    short = typed.lstrip("-")
    matches = [name for name in NAMES if name.startswith(short)]
    if typed.startswith("--") and short in matches:
        return short
    if typed.startswith("--") and len(matches) == 1:
        return matches[0]
    raise CommandLineError(f"ERROR: unknown command line flag '{short}'")


def _description(name: str) -> str:
    return f"; flag description: {_DESCRIPTIONS[name]}" if name in _DESCRIPTIONS else ""


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
    for name in sorted(NOT_MODELLED.intersection(options)):
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
