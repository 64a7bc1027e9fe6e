"""An option of the suite: how it is typed, what it means, who takes it, and the converters from its text to its value."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fcos_lib.errors import UsageError

FILES_OF_ATC = (
    "compress_weight_conf", "compression_optimize_conf", "customize_dtypes", "fusion_switch_file", "keep_dtype",
    "modify_mixlist", "op_debug_config", "op_precision_mode",
)  # fmt: skip
"""Options of atc whose value is a file that it reads (ATC user guide)."""
_VARIABLE = re.compile(r"\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
"""A variable as shells write it, or two dollars; any other dollar stands for itself."""


def number(lowest: int, highest: int, of: str = "") -> Callable[[str], int]:
    """A converter to a whole number from `lowest` to `highest`; `of` says what is counted."""
    kind = f"number of {of}" if of else "number"

    def convert(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a {kind} from {lowest} to {highest}")
        return int(text)

    return convert


def numbers(lowest: int, highest: int) -> Callable[[str], tuple[int, ...]]:
    """A converter to the numbers of a comma list, in the order in which they were typed."""
    convert = number(lowest, highest)
    return lambda text: tuple(convert(part) for part in text.split(","))


def batch_sizes(text: str) -> tuple[int, ...]:
    """Different batch sizes from 1 to 1024, ascending."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or len(set(sizes)) != len(sizes) or not all(1 <= size <= 1024 for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different batch sizes such as 1,4,8")
    return tuple(sorted(sizes))


def device_ids(text: str) -> tuple[int, ...]:
    """Different device ids from 0 to 255, in the order in which they were typed."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) <= 255 for part in parts) or len(set(parts)) != len(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device id from 0 to 255, nor a list of different ones")
    return tuple(map(int, parts))


def promises(text: str) -> tuple[str, ...]:
    """The promises of a comma list, or all of them."""
    from fcos_lib.judge.roll_call import parse_promises  # every start of pytest reads the table; few need the gates

    try:
        return parse_promises(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(f"{error.found}: {error.advice}") from None


def cluster(text: str) -> str:
    """`auto`, `local` or the HOST:PORT of a cluster."""
    host, _, port = text.rpartition(":")
    if text not in ("auto", "local") and not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto, local nor HOST:PORT")
    return text


def contract(text: str) -> str:
    """A contract's name, or the whole path of a file that is one: what a run can be repeated by, from any folder."""
    from fcos_lib.model.zoo import known_contracts, named_contract  # as above

    try:
        named_contract(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(f"{error.found}: {error.advice}") from None
    return text if text in known_contracts() else str(path(text).absolute())


def path(text: str) -> Path:
    """A path with `~`, `~user`, `$NAME` and `${NAME}` resolved, not made absolute; `$$` is a dollar. An empty text is refused."""
    home, slash, below = text.partition("/")
    if home.startswith("~"):  # no shell resolves any of it behind a `=`
        whole = f"{os.path.expanduser(home)}{slash}{_with_variables(below, text)}"
    else:
        whole = os.path.expanduser(_with_variables(text, text))
    if whole.startswith("~"):
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such user, so no home either")
    if not whole.strip():  # of a variable that nobody set: the current folder would be taken
        raise argparse.ArgumentTypeError("an empty text is not a path")
    return Path(whole)


def typed_path(value: object) -> str:
    """A path as the text that `path` makes it of."""
    return str(value).replace("$", "$$")


def _with_variables(text: str, typed: str) -> str:
    """A text with the values of its variables; `ArgumentTypeError` for one that is not set, or a folder would be called like it."""

    def value(variable: re.Match[str]) -> str:
        name = variable[1] or variable[2]
        if name and not os.environ.get(name):
            raise argparse.ArgumentTypeError(f"{typed!r}: the environment variable {name} is not set, or empty")
        return os.environ[name] if name else "$"

    return _VARIABLE.sub(value, text)


def atc_option(text: str) -> str:
    """An option of atc; if its value is a file that atc reads, `~` and variables in it are resolved."""
    name, sign, value = text.partition("=")
    if name.removeprefix("--").replace("-", "_") in FILES_OF_ATC and value:
        return f"{name}{sign}{path(value)}"
    return text


def category(text: str) -> str:
    """A text such as `person=pedestrian`."""
    name, _, own = text.partition("=")
    if not name.strip() or not own.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not CLASS=NAME, such as person=pedestrian")
    return text


@dataclass(frozen=True, slots=True)
class Option:
    """One option of `pytest` and of the verbs that take the same one, or of a single verb."""

    name: str
    """As it is typed, such as `--batch-sizes`; without dashes for what is told by its place."""
    help: str
    metavar: str | tuple[str, ...] = ""
    """What stands for the value in help texts; empty for a flag and for choices."""
    convert: Callable[[str], Any] | None = None
    """From text to the value; None keeps the text."""
    default: Any = None
    """The value if the option is not given; False for a flag."""
    default_words: str = ""
    """What the default is, where the value itself does not say it."""
    choices: tuple[str, ...] = ()
    many: bool = False
    """True if it may be given several times; its value is a tuple."""
    required: bool = False
    nargs: int | str | None = None
    """How many values it takes, as argparse has it; None: one."""
    short: str = ""
    """A shorter name, such as `-o`."""
    repeated: bool = True
    """True if the command that runs a failure again repeats it: it changes what is tested or how it is judged."""
    for_atc: bool = False
    """True if atc's work depends on it, and on nothing else."""
    verbs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The verbs of `python -m fcos_lib` that take it too, each with the fields of this record that differ there."""

    @property
    def key(self) -> str:
        """The name in `Settings`, in argparse's results and in results.json, such as `batch_sizes`."""
        return self.name.removeprefix("--").replace("-", "_")

    @property
    def is_flag(self) -> bool:
        """True if it takes no value."""
        return self.default is False

    @property
    def is_path(self) -> bool:
        """True if its value is a path."""
        return self.convert is path

    @property
    def default_text(self) -> str:
        """The default in words; empty if there is none."""
        if self.default_words or self.is_flag or self.default in (None, "", ()):
            return self.default_words
        return as_text(self.default)

    def of(self, verb: str) -> Option:
        """The option as this verb takes it; `KeyError` if it does not."""
        return replace(self, **self.verbs[verb])

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of argparse's `add_argument`, which are those of pytest's `addoption`."""
        if self.is_flag:
            return {"action": "store_true", "help": self.help}
        default = f"(default: {self.default_text})" if self.default_text else ""
        arguments: dict[str, Any] = {"help": f"{self.help} {default}".strip(), "default": self.default}
        if self.choices:
            arguments["choices"] = self.choices
        else:
            arguments["metavar"] = self.metavar
        if self.convert:
            arguments["type"] = self.convert
        if self.many:
            arguments |= {"action": "append", "default": list(self.default)}
        if self.required:
            arguments["required"] = True
        if self.nargs is not None:
            arguments["nargs"] = self.nargs
        return arguments

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Have a parser of the command line, or a group of its options, take it."""
        parser.add_argument(*filter(None, (self.short, self.name)), **self.arguments())

    def typed(self, value: Any) -> list[str]:
        """The option with this value, as one would type it into a shell."""
        if self.is_flag:
            return [self.name] if value else []
        texts = value if self.many else [typed_path(value) if self.is_path else as_text(value)]
        return [f"{self.name}{'=' if text.startswith('-') else ' '}{shlex.quote(text)}" for text in texts]


def as_text(value: Any) -> str:
    """A value as the text that is converted to it: a list with commas."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def as_json(value: Any) -> Any:
    """A value as it stands in results.json: paths are texts, tuples are lists."""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
