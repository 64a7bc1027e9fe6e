"""Make the three kinds of evidence page to look at: `make pages`, or `python tools/make_pages.py [--picture]`.

Runs the suite on the emulator: as it is (green), with red and blue swapped on their way to the device (red), and on twenty
pictures, which are too few to tell (NO VERDICT). `--picture` takes docs/evidence.png of the green one, with Chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "pages"
PICTURE = ROOT / "docs" / "evidence.png"
LOOK = ("-m", "contract or consistency or accuracy", "--batch-sizes", "4,8", "--fresh")
RUNS = {
    "green": (0, ()),
    "red": (1, ("-p", "tools.swapped_channels", *LOOK)),
    "no-verdict": (7, (*LOOK, "--pictures", "20")),
}
"""Exit status and options of each."""


def make_page(name: str, status: int, options: tuple[str, ...]) -> None:
    """Run the suite, and keep the page and the results that it came to."""
    artifacts = PAGES / "artifacts"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/acceptance",
        "-q",
        "--npu",
        "emulated",
        "--artifacts",
        str(artifacts),
    ]
    command += [f"--benchmark-storage=file://{PAGES / 'benchmarks'}", "-p", "no:cacheprovider", *options]
    finished = subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True)
    if finished.returncode != status:
        sys.exit(f"{finished.stdout[-4000:]}\n{name}: exit status {finished.returncode}, not {status}")
    for suffix, made in ((".html", "evidence.html"), (".json", "results.json")):
        shutil.copy(artifacts / "results" / made, PAGES / f"{name}{suffix}")
    print(PAGES / f"{name}.html")


def take_picture(page: Path) -> None:
    """The top of a page as docs/evidence.png."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1180, "height": 900}, color_scheme="light")
        shown.goto(page.as_uri())
        shown.screenshot(path=str(PICTURE))
        browser.close()
    print(PICTURE)


def chromium() -> str | None:
    """The browser of this machine; None for playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


def main() -> None:
    """Make all pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", action="store_true", help="take docs/evidence.png of the green page")
    arguments = parser.parse_args()
    PAGES.mkdir(exist_ok=True)
    for name, (status, options) in RUNS.items():
        make_page(name, status, options)
    if arguments.picture:
        take_picture(PAGES / "green.html")


if __name__ == "__main__":
    main()
