"""What tests of evidence share: verdicts as a run writes them down, and the elements of a page."""

from html.parser import HTMLParser

from fcos_lib.judge.limits import Limit
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement

VOID = {"meta", "br", "input", "img"}
LIMIT = Limit("accuracy.x", 0.359, True, "AP", "a paper")


def verdict(
    value, subject="batch8", name="mAP", *, limit=LIMIT, stand_in=False, where="", interval=None, promise="accuracy"
):
    """An entry of `verdicts` of results.json."""
    measurement = Measurement(name, value, "AP", 5000, where, interval=interval)
    entry = decide(promise, subject, measurement, limit, stand_in=stand_in).as_dict()
    return {"test": f"tests/acceptance/test_{promise}.py::test_limit[{subject}]", **entry}


class Elements(HTMLParser):
    """Every element with its attributes, and the text of the page."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text, self.open = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        """Keep it; what is not void must be closed."""
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """SVG elements that close themselves."""
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Elements are closed in order."""
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        """Words, but for those of style and script."""
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data + " "

    def headings(self):
        """The names of the sections."""
        return [attributes["id"] for tag, attributes in self.found if tag == "h2" and "id" in attributes]
