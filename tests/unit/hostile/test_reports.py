"""Text from a `results.json` of a stranger changes nothing but words: not in a page, a summary, an annotation, a log or a terminal."""

import copy
import html.parser
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from fcos_lib.ascend.npu_tables import UnreadableTableError, parse_info
from fcos_lib.cli.main import main
from fcos_lib.cli.terminal import report, say
from fcos_lib.errors import FcosError
from fcos_lib.evidence.explained import explained
from fcos_lib.evidence.markdown import Annotation, summary, workflow_commands
from fcos_lib.evidence.page import render
from fcos_lib.evidence.results import again, in_reading_order, read_results, stored_verdict, verdict_table
from fcos_lib.files import one_line, printable
from fcos_lib.judge.verdict import paragraph

WHOLE = Path(__file__).parent / "corpus" / "results" / "whole.json"
MEANT = {"kind", "outcome", "jpeg", "promise", "cause", "side", "npu", "started_at", "family", "level", "history"}
"""Keys whose text has a meaning, so that another text is another document."""
PAYLOADS = {
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": "\" onmouseover='alert(1)' x=\"",
    "end-of-style": "</style></title></svg></pre></code>-->",
    "markdown": "`|*_[x](javascript:alert(1))![y](http://z)<b>#~~",
    "fence": "\n````\n~~~\n# heading\n| a | b |\n|---|---|\n> [!CAUTION]\n",
    "command": "\n::error file=x::owned\n::stop-commands::x\n  ::set-output name=a::b\n##[error]owned\n##vso[task.complete]x",
    "terminal": "\x1b[2J\x1b]0;title\x07\x9b31m\r\b\x7f",
    "direction": "\u202e\u2066\u200f",
    "percent": "%0A::error::owned%0D{0}%s${x}`id`$(id)",
    "null": "\x00\ufffe",
}


def filled(payload):
    """The document with the payload behind every text that has no meaning of its own."""

    def fill(node, key=""):
        if isinstance(node, dict):
            return {name: fill(value, name) for name, value in node.items()}
        if isinstance(node, list):
            return [fill(value, key) for value in node]
        return node + payload if isinstance(node, str) and key not in MEANT else node

    return fill(json.loads(WHOLE.read_text()))


@pytest.fixture(scope="module", params=PAYLOADS)
def stored(request, tmp_path_factory):
    """A file with one payload everywhere, and what reading it gives."""
    path = tmp_path_factory.mktemp("run") / "results.json"
    path.write_text(json.dumps(filled(PAYLOADS[request.param])))
    return path, read_results(path)


class _Structure(html.parser.HTMLParser):
    """Elements and the names of their attributes, in order, without bare spans: each word of a command has one."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if (tag, attributes) != ("span", []):
            self.elements.append((tag, *(name for name, _ in attributes)))

    def handle_comment(self, data):
        self.elements.append(("comment",))


def test_a_page_has_the_same_elements(stored):
    """Whatever the text is, no element and no attribute comes or goes; a text of several lines has several rows."""
    plain, hostile = (_Structure(render(document)).elements for document in (filled(" plain"), stored[1]))
    assert set(hostile) == set(plain)
    if len(stored[1]["verdicts"][0]["subject"].splitlines()) == 1:
        assert hostile == plain


def test_no_text_makes_a_line_of_a_verdict(stored):
    """A command to be run again, and a reason, are those of the suite."""
    for entry in stored[1]["verdicts"]:
        lines = paragraph(stored_verdict(entry), again="pytest x").splitlines()
        names = [line[2:12].strip() for line in lines[1:] if line[2:3].strip()]
        assert len(names) == len(set(names)), names
        assert [line for line in lines if line.startswith("  again")] == ["  again     pytest x"]


def test_a_summary_has_the_same_blocks(stored):
    """Neither as Markdown with HTML, as GitHub reads it, nor by a line that begins something."""
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})

    def blocks(text):
        return [(token.type, token.tag) for token in parser.parse(text)]

    def inline(text):
        return [child for token in parser.parse(text) for child in token.children or ()]

    hostile, plain = summary(stored[1]), summary(filled(" plain"))
    assert blocks(hostile) == blocks(plain)
    assert not {"link_open", "image"} & {child.type for child in inline(hostile)}
    hidden, expected = (
        {child.content for child in inline(text) if child.type == "html_inline"} for text in (hostile, plain)
    )
    assert hidden == expected


def test_an_annotation_is_one_line(stored):
    """One command per red gate and no other."""
    texts = [paragraph(stored_verdict(entry), again=again(stored[1], entry["test"])) for entry in stored[1]["verdicts"]]
    texts += [entry["message"] for entry in stored[1]["unjudged"]]
    for line in workflow_commands([Annotation(printable(text), printable(text), printable(text), 3) for text in texts]):
        assert re.fullmatch(r"::error file=[^,:\r\n]*,line=3,title=[^,:\r\n]*::[^\r\n]*", line), line


def acts(text):
    """What in a text would act on a terminal or in the log of a CI job."""
    return re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|^\s*::.*|##\w*\[", text, re.M)


@pytest.mark.parametrize("verb", ["judge", "summary", "diff", "page"])
def test_a_verb_prints_words(stored, verb, capsys, tmp_path):
    """Neither escape sequences nor commands for a CI system, on either stream."""
    arguments = [str(stored[0])]
    arguments += [str(WHOLE)] if verb == "diff" else ["-o", str(tmp_path / "x.html")] if verb == "page" else []
    main([verb, *arguments])
    shown = capsys.readouterr()
    assert not acts(shown.out + "\n" + shown.err)


def test_what_explain_adds_is_shown_as_words(stored):
    """Its sentences come from the same file."""
    with redirect_stdout(io.StringIO()) as out:
        say("\n".join(explained(stored[1]["evidence"])))
    assert not acts(out.getvalue())


def test_the_table_of_a_run_is_shown_line_by_line(stored):
    """A row stays a row."""
    lines = verdict_table(in_reading_order(copy.deepcopy(stored[1]["verdicts"])))
    assert not any(acts(one_line(line)) or "\n" in one_line(line) for line in lines)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_an_error_is_words(payload, capsys):
    """What was found names files, and anybody may have named them."""
    error = FcosError(f"there is no {payload}\n{payload}", payload)
    assert not acts(str(error))
    for raised in (error, OSError(2, "gone", payload), ValueError(payload)):
        report(raised, debug=False)
        assert not acts(capsys.readouterr().err)


def test_a_table_of_npu_smi_gives_no_control_characters():
    """Its fields are names and numbers, whatever the driver prints."""
    head = "| NPU  Name | Health | Power(W)  Temp(C) |\n| Chip  Device | Bus-Id | AICore(%)  Memory-Usage(MB) |\n"
    good = "| 0 310 | OK | 12 42 |\n| 0 0 | 0000:01:00.0 | 0 1 / 2 |\n"
    (npu,) = parse_info(f"{head}{good}")
    assert npu.name == "310", "the table itself cannot be read"
    for table in (f"{head}{good.replace('310', '310' + chr(27) + '[31m')}{good}", "| \x1b[31m | \x07 |\n"):
        with pytest.raises(UnreadableTableError) as caught:
            parse_info(table)
        assert not acts(str(caught.value))
