"""The mistakes that `atc` finds: its error codes in the layout of CANN 8, and what shows without reading the model.

Messages, causes and solutions are those of the Graph Engine's error registry.
"""

from __future__ import annotations

import errno
import os
import re
from datetime import datetime
from pathlib import Path

from fcos_lib.emulator import STAND_IN

_VALID = "Try again with a valid argument."
_SET = "Set a valid parameter value."
_CATALOGUE = {
    "E10001": ("Value {} for parameter {} is invalid. Reason: {}", _VALID),
    "E10002": (
        "Value {} for parameter --input_shape is invalid. Reason: {}. The value must be formatted as {}.",
        "The valid format is input_name1:n1,c1,h1,w1;input_name2:n2,c2,h2,w2. Replace input_name with node names. "
        "Ensure that the shape values are integers.",
    ),
    "E10007": ("[{}] is required. The value must be [{}].", _SET),
    "E10011": (
        "Value {} for parameter --input_shape is invalid. Shape values must be positive integers. "
        "The error value in the shape is {}.",
        "In static shape scenarios, set the shape values in --input_shape to positive integers.",
    ),
    "E10016": (
        "Opname {} specified in --{} is not found in the model. Confirm whether this node name exists, or the node is "
        "not split with the specified delimiter ';'.",
        "Specify the name of an existing node in the graph.",
    ),
    "E10031": (
        "--dynamic_batch_size is included, but none of the nodes specified in --input_shape has a batch size equaling -1.",
        "In static shape scenarios, remove the --dynamic_batch_size option from your command line.",
    ),
    "E10035": (
        "--dynamic_batch_size, --dynamic_image_size, or --dynamic_dims has {} profiles, which is less than the minimum {}.",
        "Ensure that the number of profiles is at least the minimum.",
    ),
    "E10041": ("Failed to load the model from {}.", "Check that the model file is valid."),
    "E10049": (
        "Dimension count {} configured in --input_shape does not match dimension count {} of the node.",
        "Set the dimension count in --input_shape according to the dimension count of the node.",
    ),
    "E10052": ("AIPP configuration is invalid. Reason: {}.", ""),
    "E10054": (
        "The required parameter {} for ATC is empty. Another possible reason is that the values of some parameters are "
        'not enclosed by quotation marks ("").',
        "Check whether the command line parameter format is correct.",
    ),
    "E10055": (
        "The operation is not supported. Reason: {}.",
        "Check whether the configured parameter or used function is supported.",
    ),
    "E10056": (
        "Cannot configure both parameters {} and {} simultaneously.",
        "The two parameters cannot be set at the same time.",
    ),
    "E11017": ("Failed to find node {} specified by --out_nodes.", "Try again with a valid --out_nodes argument."),
    "E13000": ("Path {} is empty. Reason: {}.", "Try again with a valid directory."),
    "E13010": (
        "No operator plugin is registered for Op: {}, optype: {}.",
        "If the operator is a built-in operator, install the package that supports this operator version.",
    ),
    "E16004": ("ONNX model has no graph.", "Check that the ONNX model is valid."),
    "E19999": ("Inner Error!\n        Unknown error occurred. Please check the log.", ""),
}  # fmt: skip
"""Code → message and solution, empty where there is none."""


class AtcError(Exception):
    """One error as `atc` reports it: a code of the catalogue and what fills its message.

    Missing values read STAND-IN, and so does the message of a code that the catalogue does not have.
    """

    def __init__(self, code: str, *values: object) -> None:
        self.code = code
        message, self._solution = _CATALOGUE.get(code, (STAND_IN, ""))
        self.trace: list[str] = []
        """What stands under TraceBack."""
        missing = [STAND_IN] * (message.count("{}") - len(values))
        self.message = message.format(*values, *missing)
        super().__init__(f"{code}: {self.message}")

    def text(self) -> str:
        """The block that follows `ATC run failed` on stdout, in CANN 8's layout."""
        if self.code == "E19999":  # nothing was recorded, so there is no time to print either
            return f"{self.code}: {self.message}"
        now = datetime.now()
        stamp = (
            f"[PID: {os.getpid()}] {now:%Y-%m-%d-%H:%M:%S}.{now.microsecond // 1000:03d}.{now.microsecond % 1000:03d}"
        )
        solution = f"\n        Solution: {self._solution}" if self._solution else ""
        trace = (
            [f"\n        {line}" for line in ["TraceBack (most recent call last):", *self.trace]] if self.trace else []
        )
        return f"{self.code}: {stamp} {self.message}{solution}{''.join(trace)}"


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

ROUNDING_MODES = frozenset({"force_fp16", "fp16"})
EXACT_MODES = frozenset({"force_fp32", "must_keep_origin_dtype", "origin"})
"""Modes without rounding before the NMS. (The device's force_fp32 still gives convolutions fp16 inputs.)"""
_MODES = (
    "force_fp16", "force_fp32", "cube_fp16in_fp32out", "allow_mix_precision", "allow_fp32_to_fp16",
    "must_keep_origin_dtype", "allow_mix_precision_fp16", "allow_mix_precision_bf16", "allow_fp32_to_bf16",
)  # fmt: skip
_MODES_V2 = ("fp16", "origin", "cube_fp16in_fp32out", "mixed_float16", "mixed_bfloat16")
_SOC = re.compile(r"Ascend(310|310P[1-7]|310B[1-4]|910|910(Pro)?[AB]|910B[1-4](-1)?|910_\d{4}|950\w*)")
_IMPLEMENTATION_MODES = ("high_precision", "high_performance", "high_precision_for_all", "high_performance_for_all")


def check(options: dict[str, str]) -> None:
    """`AtcError` for the first mistake that shows without reading the model, in the order in which atc looks."""
    if options["framework"] != "5":
        raise AtcError("E10007", "--framework", "0(Caffe) or 1(MindSpore) or 3(TensorFlow) or 5(Onnx)")
    for name in ("soc_version", "output", "model"):
        if not options[name]:
            raise AtcError("E10054", f"--{name}")
    if not Path(options["model"]).is_file():
        raise AtcError("E13000", options["model"], os.strerror(errno.ENOENT))
    if not re.fullmatch(r"[A-Za-z0-9_./\-\u4e00-\u9fa5]+", options["output"]) or options["output"].endswith("/"):
        raise AtcError("E10001", options["output"], "--output", "The path has characters other than a-z A-Z 0-9 _ - .")
    if not _SOC.fullmatch(options["soc_version"]):
        raise AtcError("E10001", options["soc_version"], "--soc_version", "The value is not a known SoC version.")
    _check_dynamic(options)
    _check_precision(options)
    _check_choice(options, "op_select_implmode", _IMPLEMENTATION_MODES)
    for name in sorted(NOT_MODELLED.intersection(options)):
        raise AtcError("E10055", f"the stand-in does not imitate --{name}")


def _check_dynamic(options: dict[str, str]) -> None:
    if not options.get("dynamic_batch_size"):
        return
    shapes = input_shapes(options.get("input_shape", ""), lowest=-1)
    if not any(shape[0] == -1 for shape in shapes.values()):
        raise AtcError("E10031")
    if (profiles := len(dynamic_batches(options))) < 2:
        raise AtcError("E10035", profiles, 2)


def dynamic_batches(options: dict[str, str]) -> tuple[int, ...]:
    """The profiles of `--dynamic_batch_size`, rising; empty if it was not given."""
    return tuple(sorted({int(size) for size in re.findall(r"\d+", options.get("dynamic_batch_size", ""))}))


def _check_precision(options: dict[str, str]) -> None:
    first, second = options["precision_mode"], options["precision_mode_v2"]
    if first and second:
        raise AtcError("E10056", "precision_mode", "precision_mode_v2")
    for name, known in (("precision_mode", _MODES), ("precision_mode_v2", _MODES_V2)):
        _check_choice(options, name, known)
    if precision_mode(options) not in ROUNDING_MODES | EXACT_MODES:
        raise AtcError("E10055", f"the stand-in does not imitate precision mode {precision_mode(options)}")


def _check_choice(options: dict[str, str], name: str, known: tuple[str, ...]) -> None:
    if options[name] not in ("", *known):
        reason = f"The current value is not within the valid range {list(known)}."
        raise AtcError("E10001", options[name], f"--{name}", reason)


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
