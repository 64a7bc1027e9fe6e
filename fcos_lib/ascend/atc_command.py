"""The command line of `atc`, and the AIPP configuration that it names."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import UsageError

CONFIG_NAME = "aipp.cfg"


def aipp_config(contract: ModelContract) -> str:
    """The text config that normalises BGR pictures of the size of the network input as the contract says.

    `mean_chn` holds integers only, and fp16 cannot hold 102.9801 (it is 103 there): the integer part goes to `mean_chn`,
    the rest to `min_chn`, where fp16 is exact to 0.0003. `var_reci_chn` is what the rest is multiplied by. All three count
    channels after the swap (ATC user guide). Neither crop nor padding: the host letterboxes.
    """
    swap = contract.channel_order == "rgb"
    order = slice(None, None, -1) if swap else slice(None)
    means = [Decimal(str(mean)) for mean in contract.mean_bgr][order]
    factors = [1 / std for std in contract.std_bgr][order]
    lines = [
        "aipp_mode: static",
        "related_input_rank: 0",
        "input_format: RGB888_U8",
        f"src_image_size_w: {contract.width}",
        f"src_image_size_h: {contract.height}",
        "csc_switch: false",
        f"rbuv_swap_switch: {'true' if swap else 'false'}",
    ]
    lines += [f"mean_chn_{channel}: {int(mean)}" for channel, mean in enumerate(means)]
    lines += [f"min_chn_{channel}: {mean % 1}" for channel, mean in enumerate(means)]
    lines += [f"var_reci_chn_{channel}: {factor}" for channel, factor in enumerate(factors)]
    body = "".join(f"    {line}\n" for line in lines)
    scaled = "" if set(factors) == {1.0} else ", over the deviation"
    planes = contract.channel_order.upper()
    return f"# Contract '{contract.name}': BGR bytes in, minus the mean{scaled}, {planes} planes out.\naipp_op {{\n{body}}}\n"


_OWNED = frozenset((
    "framework", "model", "output", "input_format", "input_shape", "insert_op_conf", "out_nodes", "soc_version", "mode",
    "om", "dynamic_batch_size", "dynamic_dims", "dynamic_image_size", "input_shape_range", "precision_mode",
    "op_select_implmode",
))  # fmt: skip
"""Options that decide what the OM is; `AtcOptions.extra` may not replace them, not by atc's abbreviations either."""

_MOST_PROFILES = 100
"""Batch sizes of one OM (ATC user guide, `--dynamic_batch_size`)."""

FULL_PRECISION = frozenset({"force_fp32", "must_keep_origin_dtype", "origin", "cube_fp16in_fp32out"})
"""Precision modes, old and new, in which float32 reaches the NMS (ATC user guide)."""


@dataclass(frozen=True, slots=True)
class AtcOptions:
    """What may differ between two OMs of one model."""

    soc_version: str
    """The chip, such as `Ascend310P3`."""
    batch: int = 0
    """The OM's fixed batch size; 0 if `dynamic_batches` says which it has."""
    precision_mode: str = "force_fp16"
    """atc's `--precision_mode`; empty passes none (for `--precision_mode_v2` in `extra`, which excludes it)."""
    op_select_implmode: str = ""
    """atc's `--op_select_implmode`, such as `high_precision`; empty passes none, which means `high_performance`."""
    extra: tuple[str, ...] = ()
    """Further options, each written `--name=value`."""
    aipp: bool = False
    """Whether AIPP normalises on the device, so that the OM takes uint8 pictures."""
    dynamic_batches: tuple[int, ...] = ()
    """Batch sizes of one OM for all of them: its profiles, in any order."""
    proposals: bool = False
    """Whether what reaches NMS is returned as well, which the ONNX must then offer."""
    taps: tuple[str, ...] = ()
    """Tensors of its inside that the ONNX returns further, in this order; they come last."""

    @property
    def batches(self) -> str:
        """What is compiled, in words."""
        if self.dynamic_batches:
            return f"batch sizes {', '.join(map(str, sorted(self.dynamic_batches)))}"
        return f"batch size {self.batch}"

    @property
    def keeps_float32(self) -> bool:
        """True if no layer before the NMS is made to return fp16."""
        newer = [option.partition("=")[2] for option in self.extra if _name(option) == "precision_mode_v2"]
        return (self.precision_mode or "".join(newer[-1:])) in FULL_PRECISION

    @property
    def layout(self) -> InputLayout:
        """What the OM takes."""
        return InputLayout.UINT8_NHWC if self.aipp else InputLayout.FLOAT_NCHW


def command(atc: Path, model: Path, output: Path, contract: ModelContract, options: AtcOptions) -> list[str]:
    """The argument list that compiles `model` to `<output>.om`; no shell, so that the `;` of `--out_nodes` is plain text.

    With AIPP, its configuration has to lie beside the output, under `CONFIG_NAME`.
    `UsageError` for batch sizes that atc cannot compile, or an `extra` that is no `--name=value` or replaces what the
    contract decides.
    """
    check_options(options)
    outputs = contract.output_names + contract.proposal_names * options.proposals + options.taps
    shape = ",".join(str(size) for size in contract.input_shape(-1 if options.dynamic_batches else options.batch))
    arguments = [
        str(atc),
        "--framework=5",
        f"--model={model}",
        f"--output={output}",
        "--input_format=NCHW",
        f"--input_shape={contract.input_name}:{shape}",
        f"--out_nodes={';'.join(outputs)}",
        f"--soc_version={options.soc_version}",
    ]
    if options.dynamic_batches:
        arguments.append(f"--dynamic_batch_size={','.join(map(str, sorted(options.dynamic_batches)))}")
    if options.aipp:
        arguments.append(f"--insert_op_conf={output.parent / CONFIG_NAME}")
    if options.precision_mode:
        arguments.append(f"--precision_mode={options.precision_mode}")
    if options.op_select_implmode:
        arguments.append(f"--op_select_implmode={options.op_select_implmode}")
    if "log" not in map(_name, options.extra):
        arguments.append("--log=error")
    return [*arguments, *options.extra]


def check_options(options: AtcOptions) -> None:
    """`UsageError` for what atc could not compile or the contract decides, before atc is there to say so."""
    _check_batches(options)
    for option in options.extra:
        name = _name(option)
        if not option.startswith("--") or "=" not in option or any(owned.startswith(name) for owned in _OWNED):
            raise UsageError(
                f"'{option}' cannot be passed on to atc",
                f"write --name=value; the suite itself sets {', '.join(sorted(_OWNED))}",
            )
        if name == "precision_mode_v2" and options.precision_mode:
            raise UsageError(
                f"'{option}' excludes --precision_mode={options.precision_mode}, which atc is given as well",
                "pass --precision-mode '' with it",
            )


def _name(option: str) -> str:
    return option.partition("=")[0].removeprefix("--").replace("-", "_")


def _check_batches(options: AtcOptions) -> None:
    sizes = options.dynamic_batches
    if not sizes:
        if options.batch < 1:
            raise UsageError(f"batch size {options.batch} cannot be compiled", "pass a batch size of 1 or more")
        return
    if options.batch:
        raise UsageError(
            f"batch size {options.batch} is fixed, and profiles for {len(sizes)} are asked for", "pass one or the other"
        )
    if not 2 <= len(sizes) <= _MOST_PROFILES or len(set(sizes)) != len(sizes) or min(sizes) < 1:
        raise UsageError(
            f"{len(sizes)} profiles ({', '.join(map(str, sizes[:5]))}{', ...' * (len(sizes) > 5)}) cannot be compiled",
            f"atc takes 2 to {_MOST_PROFILES} different batch sizes",
        )
    if options.aipp:
        raise UsageError(
            "a dynamic batch size with AIPP is not supported here", "compile one OM per batch size, or without AIPP"
        )
