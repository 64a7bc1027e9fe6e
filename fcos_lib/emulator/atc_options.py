"""How does `atc` read its command line? Like getopt_long, with its own messages and a few liberties.

Unambiguous prefixes are accepted (`--out_node`), one dash is as good as two before a name, `-` and `_` are equal inside
it, `--flag value` and `--flag=value` both work, and an option that needs a value takes the next word whatever it is.
"""

from __future__ import annotations

import re

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
