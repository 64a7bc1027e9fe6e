"""The pages fit together: both READMEs say the same, links lead somewhere, guides are short, measured figures have commands."""

import re
from itertools import zip_longest

import pytest

from tests.unit.docs.markdown import PAGES, ROOT, blocks, each_page, prose

ENGLISH, CHINESE = (ROOT / name for name in ("README.md", "README.zh-CN.md"))
GUIDES = ("getting_started", "hardware_runner", "reading_a_failure", "adding_a_chip", "adding_a_contract", "limits")
UNCHANGED = (
    "PASS", "FAIL", "STAND-IN", "NO VERDICT", "INFRA", "mAP", "OM", "ONNX", "images/s", "onnxruntime", "35.9 %", "batch size",
)  # fmt: skip
"""Terms and figures that a translation keeps as they are."""
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
MEASUREMENTS = ROOT / "docs" / "measurements"
GENERATED = {"faults.md", "options.md", "dependencies.md", "wheels.md"}
MEASURED = re.compile(
    r"(?<![\w.])\d[\d.,]* (?:µs|ms|s|min|h|images/s|pictures/s|MB|GB)(?!\w)"  # a time, a rate, memory
    r"|(?<![\w.])\d[\d.,]* (?:x(?! \d)|times (?:as|slower|faster|less|more|the))"  # a ratio
    r"|\b(?:in|of) \d[\d,]* (?:of \d+ )?(?:runs|trials)\b"  # a share of runs
)
"""What a measured figure looks like; bounds and settings are shares in %, MiB, or numbers without a unit."""


def headings(text):
    """The levels of the headings, in order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(text), re.M)]


def tables(text):
    """Rows and columns of every table, in order."""
    return [
        [row.count("|") for row in table.strip().splitlines()]
        for table in re.findall(r"(?:^\|.*\|\n)+", prose(text), re.M)
    ]


def links(text):
    """Where the links of a page lead, in order, but for those to the README itself."""
    return [target for _, target in _LINK.findall(prose(text)) if not target.startswith("README")]


@pytest.mark.parametrize("part", [headings, blocks, tables, links], ids=["headings", "blocks", "tables", "links"])
def test_both_readmes_have_the_same(part):
    """Whoever changes one changes the other: sections, commands, tables and links are the same."""
    pairs = zip_longest(part(ENGLISH.read_text(encoding="utf-8")), part(CHINESE.read_text(encoding="utf-8")))
    for number, (english, chinese) in enumerate(pairs, 1):
        assert english == chinese, f"number {number} of the {part.__name__} differs: bring README.zh-CN.md up to date"


def test_both_readmes_have_the_same_code_and_terms():
    """Code spans are as many, and the words that the tools print are not translated."""
    english, chinese = (prose(path.read_text(encoding="utf-8")) for path in (ENGLISH, CHINESE))
    spans = [sorted(re.findall(r"`[^`]+`", text)) for text in (english, chinese)]
    assert spans[0] == spans[1], f"only in one README: {set(spans[0]) ^ set(spans[1])}"
    for term in UNCHANGED:
        assert term in english, f"{term} is no longer in README.md: remove it from this test"
        assert term in chinese, f"README.zh-CN.md does not say {term}"


def test_the_chinese_readme_is_chinese():
    """Most of its text, that is: an untranslated paragraph would be in the wrong file."""
    for paragraph in prose(CHINESE.read_text(encoding="utf-8")).split("\n\n"):
        text = re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)", "", paragraph)
        if len(text) > 40:
            share = len(re.findall(r"[一-鿿]", text)) / len(text)
            assert share > 0.2, f"{share:.0%} of this paragraph is Chinese, at least 20 % of any is: {paragraph[:80]}"


@each_page
def test_links_lead_somewhere(page):
    """Every relative link names a file of the project."""
    for target in [target for _, target in _LINK.findall(prose(page.read_text(encoding="utf-8")))]:
        if "://" not in target:
            assert (page.parent / target.partition("#")[0]).exists(), (
                f"{page.name} links to {target}, which is not there"
            )


@each_page
def test_a_measured_figure_stands_beside_its_command(page):
    """In docs/measurements/, where each section with a figure has a command, or the page has one at its head; nowhere else."""
    text = page.read_text(encoding="utf-8")
    if page.parent != MEASUREMENTS:
        figures = [] if page.name in GENERATED else [figure[0] for figure in MEASURED.finditer(prose(text))]
        assert not figures, (
            f"{page.name} has the figures {figures}: move them to docs/measurements/, beside their command"
        )
        return
    opening, *sections = re.split(r"^(?=## )", text, flags=re.M)
    for section in sections if "```sh" not in opening else ():
        if tables(section) or MEASURED.search(section):
            assert "```sh" in section, f"{page.name}: nothing measures the figures of {section.splitlines()[0]!r} again"
    assert "```sh" in text, f"{page.name} has no command"


def test_the_rule_for_figures_sees_those_that_there_are():
    """A rule that sees nothing would find nothing."""
    for name in ("accuracy", "throughput", "streaming", "reference"):
        assert MEASURED.search(prose((MEASUREMENTS / f"{name}.md").read_text(encoding="utf-8"))), name
    for text in (
        "it takes 0.97 s",
        "65 pictures/s",
        "7.0 x less",
        "in 99 of 100 runs",
        "3 times slower",
        "1,538.84 MB",
    ):
        assert MEASURED.search(text), text
    for text in (
        "35.9 % of 5,000 pictures",
        "256 MiB",
        "±1.96 x 1.06 deviations",
        "900 rounds",
        "30 minutes",
        "640 x 480",
    ):
        assert not MEASURED.search(text), text


@pytest.mark.parametrize("name", GUIDES)
def test_guides_are_short_and_reachable(name):
    """A guide is a page; a reader finds it from the README, or from a guide that is linked there."""
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    lines = len(text.splitlines())
    assert lines <= 90, f"{name}.md has {lines} lines: it has become more than a page, which has 90"
    assert f"docs/{name}.md" in ENGLISH.read_text(encoding="utf-8"), f"README.md does not link to docs/{name}.md"


def test_every_page_is_linked_from_the_readme():
    """A page that nobody finds need not have been written."""
    text = ENGLISH.read_text(encoding="utf-8")
    lost = [path for page in PAGES if (path := page.relative_to(ROOT).as_posix()) not in text and page.parent != ROOT]
    assert not lost, f"README.md does not mention {', '.join(lost)}"
