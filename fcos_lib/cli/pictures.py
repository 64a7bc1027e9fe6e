"""`preprocess` and `info`: a COCO folder becomes what the recipe's tools read."""

from __future__ import annotations

from argparse import Namespace

from fcos_lib.cli.shared import dataset_contract
from fcos_lib.errors import UsageError
from fcos_lib.recipe.bins import write_bins
from fcos_lib.stream.dataset import open_dataset


def preprocess(args: Namespace) -> int:
    """Write one `.bin` per picture, as `fcos_pth_preprocess.py` does."""
    dataset = open_dataset(args.dataset)
    contract = dataset_contract(args, dataset)
    done = write_bins(dataset, contract, args.output, jobs=args.jobs, fresh=args.fresh)
    print(
        f"{done.written + done.kept} pictures in {done.folder} ({done.written} written, {done.kept} kept), "
        f"{done.bytes_each:,} bytes each, contract {contract.name}"
    )
    return 0


def info(args: Namespace) -> int:
    """Write the list of pictures and sizes that `get_info.py jpg` writes, sizes from the annotation file."""
    dataset = open_dataset(args.dataset)
    folder = str(dataset.pictures[0].path.parent)
    names = [picture.path.name for picture in dataset.pictures if len(picture.path.name.split()) != 1]
    if len(folder.split()) != 1 or names:
        raise UsageError(
            f"'{folder if len(folder.split()) != 1 else names[0]}' has a blank in it",
            "the recipe's scripts cut these lines at blanks: use a folder and pictures without them",
        )
    lines = [
        f"{index} {picture.path} {picture.width} {picture.height}\n" for index, picture in enumerate(dataset.pictures)
    ]
    args.output.write_text("".join(lines), encoding="utf-8")
    print(f"{len(lines)} pictures in {args.output}")
    return 0
