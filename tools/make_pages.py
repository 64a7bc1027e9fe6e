"""Make the four kinds of evidence page to look at: `make pages`, or `python tools/make_pages.py [--pictures]`.

Runs the suite on the emulator: as it is (green), with red and blue swapped on their way to the device (red), on twenty
pictures, which are too few to tell (NO VERDICT), and on a device whose executions fail (INFRA). Made again, they show what was
before. `--pictures` takes the first screen of each with Chromium, for docs/.
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
DOCS = ROOT / "docs"
LOOK = ("-m", "contract or consistency or accuracy", "--batch-sizes", "4,8", "--fresh")
RUNS = {
    "green": (0, "", ()),
    "red": (1, "", ("-p", "tools.swapped_channels", *LOOK)),
    "no-verdict": (7, "", (*LOOK, "--pictures", "20")),
    "infra": (8, "run=fail", LOOK),
}
"""Exit status, scenario of the emulator and options of each."""
FIRST_SCREEN = {"width": 1280, "height": 800}


def make_page(name: str, status: int, scenario: str, options: tuple[str, ...]) -> None:
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
    environment = {**os.environ, "NO_COLOR": "1", "FCOS_EMULATOR": scenario}
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if finished.returncode != status:
        sys.exit(f"{finished.stdout[-4000:]}\n{name}: exit status {finished.returncode}, not {status}")
    for suffix, made in ((".html", "evidence.html"), (".json", "results.json")):
        shutil.copy(artifacts / "results" / made, PAGES / f"{name}{suffix}")
    print(PAGES / f"{name}.html")


def take_pictures() -> None:
    """The first screen of each page, for docs/."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for name in RUNS:
            shown = browser.new_page(viewport=FIRST_SCREEN, color_scheme="light")
            shown.goto((PAGES / f"{name}.html").as_uri())
            picture = DOCS / ("evidence.png" if name == "green" else f"evidence-{name}.png")
            shown.screenshot(path=str(picture))
            print(picture)
        browser.close()


def chromium() -> str | None:
    """The browser of this machine; None for playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


def main() -> None:
    """Make all pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pictures", action="store_true", help="take a picture of each first screen, and docs/evidence.png"
    )
    arguments = parser.parse_args()
    PAGES.mkdir(exist_ok=True)
    for name, run in RUNS.items():
        make_page(name, *run)
    if arguments.pictures:
        take_pictures()


if __name__ == "__main__":
    main()
