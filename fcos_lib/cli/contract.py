"""The verb `contract`: the contract of a model as a TOML record, from the config that it was trained with."""

from __future__ import annotations

import sys
from argparse import Namespace

from fcos_lib.cli.shared import note
from fcos_lib.contract import CONTRACTS
from fcos_lib.errors import UsageError
from fcos_lib.files import write_whole
from fcos_lib.model.config_contract import as_toml, contract_fields, contract_from, name_of
from fcos_lib.model.config_files import read_config
from fcos_lib.model.config_run import TIME_LIMIT_S, run_config
from fcos_lib.model.config_syntax import Node
from fcos_lib.model.zoo import zoo


def contract(args: Namespace) -> int:
    """Write the contract of a config, or print it; nothing in the config is run without `--run-config`."""
    config = str(args.config)
    variables = _run(args) if args.run_config else read_config(args.config, args.config_root)
    size = tuple(args.input_size) if args.input_size else None
    fields = contract_fields(variables, _name(args), size=size, classes=args.classes)
    result = contract_from(fields, config)
    text = as_toml(fields, config)
    if args.output is None:
        print(text, end="")
        return 0
    if args.output.suffix != ".toml":
        raise UsageError(f"{args.output} is no .toml file", "name one, such as mine.toml")
    if args.output.exists():
        raise UsageError(f"{args.output} is there already", "name another file, or remove that one")
    write_whole(args.output, text.encode())
    print(f"{args.output}  {result.name}: {len(result.classes)} classes, input {result.height} x {result.width}")
    note("height x width and the padding around a picture are explained in the file; docs/adding_a_contract.md goes on")
    return 0


def _name(args: Namespace) -> str:
    """The contract's name, which is none of those that have a contract already."""
    taken = {*CONTRACTS, *zoo()}
    if args.name in taken:
        raise UsageError(f"'{args.name}' is the name of a contract that is there already", "give it another --name")
    name = str(args.name or name_of(args.config))
    return f"my_{name}" if name in taken else name


def _run(args: Namespace) -> Node:
    """The variables of a config that is run, after asking."""
    question = (
        f"{args.config} will be run as a program of yours: without network, variables and much memory, for {TIME_LIMIT_S:g} s at most, "
        "but able to read and remove your files."
    )
    if not args.yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{question} There is no terminal to ask on", "pass --yes if you trust the config")
        if input(f"{question} Run it? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UsageError("the config was not run", "without --run-config it is read, and what is computed is named")
    return run_config(args.config)
