"""Write docs/faults.md from the catalogue of faults."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.unit.faults.page import PAGE, text

if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
