"""The verb `attest`, and what `verify` says of statements."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcos_lib.cli.terminal import say
from fcos_lib.errors import UsageError, refusal_as
from fcos_lib.evidence.results import FORM, read_results
from fcos_lib.files import one_line, write_whole
from fcos_lib.options.option import Option, number
from fcos_lib.options.option import path as to_path

NAME = "attestation.json"


def add_options(attest: ArgumentParser, verify: ArgumentParser) -> None:
    """The options of both verbs, but for the file that they take."""
    for option in (
        Option("--output", "", "FILE.json", to_path, default_words=f"{NAME} beside RESULTS", short="-o"),
        Option("--key", "sign it with this private key (PEM)", "FILE", to_path),
        Option("--gateproof", "", "FILE", to_path, default_words="gateproof.json beside RESULTS"),
        Option(
            "--picture", "instead, write the proof that what was found in this picture belongs to the statement",
            "ID", number(0, 2**63 - 1),
        ),
    ):  # fmt: skip
        option.add_to(attest)
    for option in (
        Option("--run", "compare a statement with this run", "RESULTS", to_path),
        Option("--public-key", "who has to have signed the statement (PEM)", "FILE", to_path),
        Option("--proof", "what attest --picture wrote, to be held against the statement", "FILE", to_path),
    ):
        option.add_to(verify)


def attest(args: Namespace) -> int:
    """Write the statement about a run, signed if a key is given, or one picture's proof; whole or not at all."""
    from fcos_lib.sharing.attest import gateproof_beside, picture_proofs, statement_of
    from fcos_lib.sharing.envelope import as_text, sign
    from fcos_lib.sharing.statement import GATEPROOF, plain

    document = read_results(args.results, older=False)  # others would not find its names in the run
    if args.picture is not None:
        if args.key:
            raise UsageError(
                "--key has no effect with --picture",
                "a proof is held against the root in the signed statement: leave it out",
            )
        output = args.output or args.results.with_name(f"picture-{args.picture}.proof.json")
        data = as_text(plain(picture_proofs(document, args.picture)))
    else:
        output = args.output or args.results.with_name(NAME)
        gateproof = GATEPROOF.read(args.gateproof) if args.gateproof else gateproof_beside(args.results)
        data = as_text(plain(statement_of(document, gateproof)))
        if args.key:
            data = as_text(sign(data, args.key))
    if output.absolute() == args.results.absolute():
        raise UsageError(f"{output} is the run itself", "pass another --output")
    with refusal_as(UsageError, f"{output} cannot be written", "pass another --output"):
        write_whole(output, data)
    print(output)
    return 0


@dataclass(frozen=True, slots=True)
class Checked:
    """A statement that was looked at."""

    document: dict[str, Any]
    """What it says of its run, as far as a stored run says it."""
    false: bool
    """True if anything that could be checked differs."""


def check_statement(args: Namespace) -> Checked | None:
    """Say what of a statement is true here and what could not be checked; None if the file is a stored run."""
    path: Path = args.results
    document = FORM.plain(path)
    if not isinstance(document, dict) or not {"payloadType", "_type"} & document.keys():
        given = [name for name in ("run", "public_key", "proof") if getattr(args, name)]
        if given:
            raise UsageError(
                f"--{given[0].replace('_', '-')} is for statements, and {path} is none", "pass what `attest` wrote"
            )
        return None
    from fcos_lib.sharing import checking
    from fcos_lib.sharing.attest import gateproof_beside
    from fcos_lib.sharing.envelope import read_statement, signed_by
    from fcos_lib.sharing.statement import PICTURE_PROOFS

    statement, envelope = read_statement(path)
    verified = signed_by(envelope, args.public_key) if envelope and args.public_key else False
    checks = [checking.signature_check(envelope is not None, verified, args.public_key is not None)]
    checks += [*checking.in_itself(statement), *checking.with_these_sources(statement)]
    if args.run:
        checks += checking.with_run(statement, read_results(args.run, older=False), gateproof_beside(args.run))
    else:
        checks.append(checking.Check("the run, its files and pictures", unchecked="pass --run"))
    if args.proof:
        checks += checking.with_picture(statement, PICTURE_PROOFS.read(args.proof))
    for check in checks:
        say(one_line(check.line))
    false = any(check.differs for check in checks)
    if false:
        say(one_line(f"{path}: not true"))
    return Checked(checking.as_document(statement), false)
