"""The page in a real browser: it renders without a complaint, asks nobody for anything, and everybody can use it."""

import os
from pathlib import Path

import pytest

from fcos_lib.evidence.page import render
from tests.unit.evidence.test_cards import RUNS
from tools.make_pages import chromium

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; a developer may do without, a CI job may not."""
    reason = ""
    try:
        import axe_playwright_python  # noqa: F401
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        reason = f"{error.name} is not installed: pip install -e '.[dev]'"
    if not reason and chromium() is None:
        reason = "there is no Chromium: install the package chromium"
    if reason and os.environ.get("CI"):
        pytest.fail(f"{reason}; in a CI job the page must be tried", pytrace=False)
    if reason:
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, document, tmp_path):
    """Opens the page as from a mail, at some width; afterwards nothing was complained of and nothing was asked for."""
    complaints, requests, contexts = [], [], []
    path = tmp_path / "evidence.html"

    def opened(width=1280, *, scheme="light", scripts=True, run=document, height=900, **how):
        path.write_text(render(run), encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=scripts, **how
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == [], "the browser complained"
    asked = [url for url in requests if not url.startswith(("data:", path.as_uri()))]
    assert asked == [], "the page asked for something"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_can_read_it(open_page, scheme):
    """axe-core finds nothing serious, contrast included, neither on the page nor in an enlarged picture."""
    from axe_playwright_python import __path__ as folders

    page, axe = open_page(scheme=scheme), Path(folders[0], "axe.min.js").read_text(encoding="utf-8")
    page.evaluate(axe)
    for opened in (False, True):
        if opened:
            page.locator(".enlarge").first.click()
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert len(result["passes"]) > 15, "axe-core has hardly looked at anything"
        violations = result["violations"]
        bad = [
            f"{violation['id']}: {violation['nodes'][0]['html'][:200]}"
            for violation in violations
            if violation["impact"] in SERIOUS
        ]
        assert bad == [], "\n".join(bad)


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_it_fits_every_screen(open_page, width):
    """Nothing makes a reader scroll sideways, on a phone neither; wide tables scroll inside of themselves."""
    page = open_page(width)
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    scrolled = page.evaluate("document.documentElement.scrollWidth")
    assert scrolled <= width, f"the page is {scrolled} pixels wide on a screen of {width}"
    wide = page.evaluate("""() => [...document.querySelectorAll('main *')].filter((one) =>
        !one.closest('.scroll, svg, pre') && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 120))""")
    assert wide == []


@pytest.mark.parametrize("width", [390, 1180])
def test_words_stay_whole(open_page, width):
    """A caption is read without scrolling its table, and a command's line ends between two words that fit on one."""
    page = open_page(width)
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    cut = page.evaluate("""() => [...document.querySelectorAll('caption')].filter((one) => {
        const box = one.firstChild.getBoundingClientRect();
        return box.right > innerWidth || box.width < 100;
    }).map((one) => one.textContent)""")
    assert cut == []
    broken = page.evaluate("""() => [...document.querySelectorAll('.command .line span')].filter((one) =>
        one.offsetHeight > 24 && one.offsetWidth < one.parentElement.clientWidth - 40).map((one) => one.textContent)""")
    assert broken == []


@pytest.mark.parametrize("kind", RUNS)
def test_the_cards_are_above_the_fold(open_page, kind):
    """All five end on the first screen of 1280 by 800 pixels, side by side, their pictures at one height; every verdict is a word."""
    page = open_page(height=800, run=RUNS[kind]())
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('.promise')].map((one) => one.getBoundingClientRect().toJSON())"""
    )
    assert len(boxes) == 5, f"{len(boxes)} cards instead of 5"
    lowest = max(box["bottom"] for box in boxes)
    assert lowest <= 800, f"the lowest card ends at {lowest:.0f} pixels, below the fold at 800"
    assert len({box["top"] for box in boxes}) == 1, f"the cards begin at {[box['top'] for box in boxes]}"
    tops = {chart.bounding_box()["y"] for chart in page.locator(".trend .chart").all()}
    assert len(tops) == 1, f"the pictures begin at {sorted(tops)}"
    words = [chip.inner_text() for chip in page.locator(".promise .chip").all()]
    known = {"PASS", "FAIL", "NO VERDICT", "STAND-IN", "INFRA", "not selected"}
    assert len(words) == 5, f"{len(words)} verdicts on five cards: {words}"
    assert set(words) <= known, words


def test_long_reasons_stay_above_the_fold(open_page):
    """The longest that a card shows, on all of them, with a name and a subject that are long as well."""
    run = RUNS["infra"]()
    for entry in run["unjudged"]:
        entry["message"] = "an_unbreakable_path/" * 200
    for entry in run["verdicts"]:
        entry["measurement"]["name"], entry["subject"] = "a name of a number " * 4, "batch64-dynamic-aipp"
    page = open_page(height=800, run=run)
    lowest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.promise')].map((one) => one.getBoundingClientRect().bottom))"
    )
    assert lowest <= 800, f"the lowest card ends at {lowest:.0f} pixels, below the fold at 800"


@pytest.mark.parametrize("width", [400, 1280])
def test_words_on_cards_are_large_enough(open_page, width):
    """At least 11 pixels, in their pictures as well; the mark there repeats the verdict."""
    page = open_page(width, run=RUNS["stand-in"]())
    sizes = page.evaluate("""() => [...document.querySelectorAll('.promise :is(h2, p, .chip, a, text)')]
        .filter((one) => !one.closest('.stand-in-mark')).map((one) => {
            const drawn = one.closest('svg');
            const scale = drawn ? drawn.getBoundingClientRect().width / drawn.viewBox.baseVal.width : 1;
            return [one.textContent, parseFloat(getComputedStyle(one).fontSize) * scale];
        })""")
    small = [(text, size) for text, size in sizes if size < 11]
    assert small == [], f"words of less than 11 pixels: {small}"


def test_a_red_card_opens_its_verdict(open_page):
    """However the reader has folded the list."""
    page = open_page(run=RUNS["red"]())
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = false))")
    page.get_by_role("link", name="why, and how to run it again of consistency").click()
    assert page.locator("details.card .inside:target").is_visible()


def test_layers_can_be_switched_off(open_page):
    """Each switch hides its own layer and no other; the choice of boxes hides faint ones, or all that agree."""
    page = open_page()
    layers = {
        name: page.locator(f".photo-and-boxes .{name}").first
        for name in ("truth", "reference.clear", "candidate.clear", "photo")
    }

    def seen():
        return {name: layer.is_visible() for name, layer in layers.items()}

    assert all(seen().values())
    for name in ("truth", "reference", "candidate", "photo"):
        page.locator(f"#show-{name}").uncheck()
        assert [layer for layer, visible in seen().items() if not visible] in ([name], [f"{name}.clear"])
        page.locator(f"#show-{name}").check()
    faint, clear = (page.locator(f".photo-and-boxes .reference.{kind}").first for kind in ("faint", "clear"))
    assert (faint.is_visible(), clear.is_visible()) == (False, True)
    page.locator("#boxes-all").check()
    assert (faint.is_visible(), clear.is_visible()) == (True, True)
    page.locator("#boxes-different").check()
    assert (faint.is_visible(), clear.is_visible()) == (False, False)
    assert page.locator(".photo-and-boxes .marked").first.is_visible()


def test_switches_need_no_script(open_page):
    """Mail programs switch scripts off: pictures, switches and folded parts are there, and no button that does nothing."""
    page = open_page(scripts=False)
    page.locator("#show-photo").uncheck()
    assert not page.locator(".photo-and-boxes .photo").first.is_visible()
    assert not page.locator(".enlarge").first.is_visible()
    assert not page.locator(".copy").first.is_visible()
    assert page.locator(".command .line").first.is_visible()


def test_pictures_are_enlarged_and_turned_over_by_keyboard(open_page):
    """Enter opens, arrows turn over and stop at the ends, Escape closes and gives the focus back."""
    page = open_page()
    buttons, dialog = page.locator("main .enlarge"), page.locator("#enlarged")
    buttons.first.focus()
    page.keyboard.press("Enter")
    title = dialog.locator("figcaption strong")
    assert title.text_content().startswith("1. ")
    assert dialog.get_by_text("STAND-IN").first.is_visible()
    for key, expected in (("ArrowRight", "2. "), ("ArrowRight", "2. "), ("ArrowLeft", "1. ")):
        page.keyboard.press(key)
        assert title.text_content().startswith(expected)
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert buttons.first.evaluate("(button) => button === document.activeElement")


def test_commands_are_copied(open_page):
    """The button beside a command copies it as it stands."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    command = page.locator("details.card .command").first
    command.locator(".copy").click()
    command.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == command.locator(".line").text_content()


def test_paper_says_stand_in_and_keeps_what_matters(open_page):
    """In print: the band, a mark on each table and chart, every red paragraph unfolded, light colours whatever the reader's screen; no buttons."""
    page = open_page(scheme="dark")
    page.locator("details.card > summary").first.click()  # folded by the reader
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.card .paragraph").first.is_visible()
    for kind in (".banner", "caption .mark", "h2 .mark", ".chart .stand-in-mark"):
        mark = page.locator(kind).first
        assert mark.is_visible(), f"{kind} is not on paper"
        assert mark.evaluate("(one) => getComputedStyle(one).printColorAdjust") == "exact"
    assert page.evaluate("getComputedStyle(document.body).page") == "stand-in", "so that every sheet says it on top"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for kind in (".copy", ".enlarge", ".toolbar", "nav"):
        assert not page.locator(kind).first.is_visible(), f"{kind} makes no sense on paper"
