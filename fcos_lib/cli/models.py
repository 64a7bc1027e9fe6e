"""The verbs of the model's way: `export` makes ONNX of a checkpoint, `compile` an OM of ONNX."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.artifacts.om import onnx_for_atc
from fcos_lib.ascend.atc import LOG_NAME, compile_om, progress_line
from fcos_lib.ascend.atc_command import AtcOptions, check_options
from fcos_lib.ascend.toolkit import Toolkit, discover
from fcos_lib.cli.shared import choose_device, chosen_dataset, shape_contract
from fcos_lib.contract import ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.files import write_whole
from fcos_lib.model.zoo import named_contract
from fcos_lib.store.artifacts import Store, sha256_of


def export(args: Namespace) -> int:
    """Write both endings of a checkpoint's ONNX."""
    import onnx

    from fcos_lib.model.npu_operators import operator_counts

    contract = chosen_dataset(args).contract if args.dataset else named_contract(args.contract)
    artifact = onnx_artifact(Store(args.artifacts), contract, args.checkpoint)
    args.output.mkdir(parents=True, exist_ok=True)
    for name in (PORTABLE, ASCEND):
        path = args.output / name
        write_whole(path, (artifact.path / name).read_bytes())
        model = onnx.load(str(path))
        counts = operator_counts(model)
        print(f"{path}  {path.stat().st_size:,} bytes")
        print(f"  sha256     {sha256_of(path)}")
        print(f"  opset      {', '.join(str(entry.version) for entry in model.opset_import)}")
        print(f"  operators  {sum(counts.values())}: {', '.join(f'{kind} {times}' for kind, times in counts.items())}")
    print(f"contract {contract.name}, {'built' if artifact.built else 'taken from the store'} ({artifact.path})")
    return 0


def compile_onnx(args: Namespace) -> int:
    """Compile an ascend ending with atc."""
    contract = _onnx_contract(args.onnx, args.contract)
    toolkit, soc_version = _target(args)
    options = AtcOptions(
        soc_version,
        args.batch_size or 0,
        precision_mode=args.precision_mode,
        op_select_implmode=args.op_select_implmode,
        extra=tuple(args.atc_option),
        dynamic_batches=args.dynamic_batch or (),
    )
    line = progress_line(sys.stderr, options)
    check_options(options)
    args.output.mkdir(parents=True, exist_ok=True)
    onnx = onnx_for_atc(args.onnx, args.output, options)
    try:
        om = compile_om(
            toolkit, onnx, args.output, contract, options, timeout_s=60 * args.atc_time_limit, progress=line
        )
    finally:
        if line:
            line.clear()
    print(f"{om}  {om.stat().st_size:,} bytes")
    print(f"  sha256     {sha256_of(om)}")
    print(f"  compiled   {options.batches}, {soc_version}, {args.precision_mode or 'no --precision_mode'}")
    print(f"  from       {onnx}")
    print(f"  CANN       {toolkit.cann_version}")
    print(f"  log        {args.output / LOG_NAME}")
    return 0


def _target(args: Namespace) -> tuple[Toolkit, str]:
    """The toolkit and the chip to compile for. With a chip named, atc alone is enough: compiling needs no NPU."""
    if args.soc_version != "auto" and args.npu == "auto":
        toolkit = discover(os.environ)
        if toolkit.atc:
            return toolkit, args.soc_version
    device = choose_device(args)
    return device.toolkit, device.soc_version if args.soc_version == "auto" else args.soc_version


def _onnx_contract(path: Path, name: str | None) -> ModelContract:
    """The contract of an ascend ending; `UsageError` if the file is another model."""
    import onnx

    from fcos_lib.model.npu_operators import NMS_OPERATOR, operator_counts, tensor_shape

    if not path.is_file():
        raise UsageError(f"there is no ONNX model at {path}", "export it first")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError and more, for anything that is no ONNX
        raise UsageError(f"{path} is no ONNX model", "pass the ascend.onnx that export wrote") from error
    if NMS_OPERATOR not in operator_counts(model):
        raise UsageError(
            f"{path} has no {NMS_OPERATOR}, so it is not the ending for Ascend",
            "pass the ascend.onnx that export wrote; portable.onnx is for onnxruntime",
        )
    shapes = [tensor_shape(value) for value in model.graph.input]
    if len(shapes) != 1 or len(shapes[0]) != 4 or not all(isinstance(size, int) for size in shapes[0][2:]):
        raise UsageError(f"{path} has inputs of the shapes {shapes}, not one [N, 3, H, W]", "export it again")
    return shape_contract(name, int(shapes[0][2]), int(shapes[0][3]), str(path))
