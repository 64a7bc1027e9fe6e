"""The pages fit together: both READMEs say the same, links lead somewhere, and every guide is short."""

import re
from itertools import zip_longest

import pytest

from tests.unit.docs.markdown import PAGES, ROOT, blocks, prose

ENGLISH, CHINESE = (ROOT / name for name in ("README.md", "README.zh-CN.md"))
GUIDES = ("getting_started", "hardware_runner", "reading_a_failure", "adding_a_chip", "adding_a_contract", "limits")
UNCHANGED = (
    "PASS", "FAIL", "STAND-IN", "NO VERDICT", "INFRA", "mAP", "OM", "ONNX", "images/s", "onnxruntime", "35.9 %", "batch size",
)  # fmt: skip
"""Terms and figures that a translation keeps as they are."""
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


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
            assert len(re.findall(r"[一-鿿]", text)) > 0.2 * len(text), paragraph[:80]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    """Every relative link names a file of the project."""
    for target in [target for _, target in _LINK.findall(prose(page.read_text(encoding="utf-8")))]:
        if "://" not in target:
            assert (page.parent / target.partition("#")[0]).exists(), (
                f"{page.name} links to {target}, which is not there"
            )


@pytest.mark.parametrize("name", GUIDES)
def test_guides_are_short_and_reachable(name):
    """A guide is a page; a reader finds it from the README, or from a guide that is linked there."""
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 90, f"{name}.md has become more than a page"
    assert f"docs/{name}.md" in ENGLISH.read_text(encoding="utf-8"), f"README.md does not link to docs/{name}.md"


def test_every_page_is_linked_from_the_readme():
    """A page that nobody finds need not have been written."""
    text = ENGLISH.read_text(encoding="utf-8")
    lost = [page.name for page in PAGES if page.parent.name == "docs" and f"docs/{page.name}" not in text]
    assert not lost, f"README.md does not mention {', '.join(lost)}"
