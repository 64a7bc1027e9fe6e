"""The parts of a page of documentation: blocks of code, the commands in them, and prose."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
_INDENTED = re.compile(r"(?:^|\n\n)((?: {4}.*\n|\n(?= {4}))+)")
_STARTS = re.compile(r"^(?:\w+=\S* )*(?:\S*/)?(?:pytest|python3?|make)\s")


@dataclass(frozen=True)
class Command:
    """A command line as a page prints it."""

    page: str
    text: str

    def words(self):
        """Its words without variables in front, placeholders and what follows a pipe."""
        text = re.sub(r'^eval "\$\((.*)\)"$', r"\1", self.text)
        text = re.sub(r"\$\{\{.*?\}\}|\$(?!MODEL)\w+", "x", text).replace("$MODEL", "")
        words = shlex.split(text, comments=True)
        words = words[: words.index("|")] if "|" in words else words
        return [word for word in words if word not in ("...", "…")]


def prose(text):
    """A page without its blocks."""
    return _INDENTED.sub("\n\n", _FENCE.sub("", text))


def blocks(text):
    """(language, lines) of every block, in order; indented ones have no language."""
    listed = [(match.start(), match[2] or "?", match[3]) for match in _FENCE.finditer(text)]
    spans = [(match.start(), match.end()) for match in _FENCE.finditer(text)]
    for match in _INDENTED.finditer(text):
        if not any(start <= match.start(1) < end for start, end in spans):
            listed.append((match.start(1), "", match[1]))
    return [(language, _unindented(body)) for _, language, body in sorted(listed)]


def commands(path):
    """Every command of a page: all lines of shell blocks, those of other blocks and of the text that start as one."""
    text = path.read_text(encoding="utf-8")
    texts = []
    for language, body in blocks(text):
        if language == "yaml" or re.search(r"^jobs:", body, re.M):
            texts += _runs(yaml.safe_load(body))
        lines = re.sub(r"\\\n\s*", "", body).splitlines()
        if language in ("sh", "bash", "console"):
            texts += [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        else:
            lines = [re.sub(r"^\s*(?:again  +|\$ )", "", line) for line in lines]
            texts += [line for line in lines if _STARTS.match(f"{line} ")]
    spans = (span.replace("\n", " ") for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(text)))
    texts += [span for span in spans if _STARTS.match(f"{span} ") and span.split()[-1] not in ("pytest", "python")]
    return [Command(str(path.relative_to(ROOT)), line.strip()) for line in texts]


def _unindented(body):
    lines = body.splitlines()
    common = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[common:] for line in lines)


def _runs(document):
    """Every `run` of a workflow."""
    if isinstance(document, dict):
        own = [document["run"]] if isinstance(document.get("run"), str) else []
        return own + [line for value in document.values() for line in _runs(value)]
    return [line for value in document for line in _runs(value)] if isinstance(document, list) else []
