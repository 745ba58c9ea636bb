"""Run every benchmark and write one file of results: `make bench` (about half an hour; the last two need Chromium), or `python -m benchmarks NAME ...` for some,
whose sections it replaces.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

NAMES = ("service", "suggest", "suggestion", "startup", "training", "dashboard", "soak")
RESULTS = Path(__file__).parent / "RESULTS.md"


HEAD = "# Measured\nWritten by `make bench`. Machines differ and are noisy: the ratios matter.\n"


def main() -> None:
    sections = read_sections()
    for name in sys.argv[1:] or NAMES:
        sections[name] = importlib.import_module(f"benchmarks.{name}").main([])
        print(sections[name], flush=True)
        parts = [f"## {known}\n{sections[known]}\n" for known in NAMES if known in sections]
        RESULTS.write_text("\n".join([HEAD, *parts]))


def read_sections() -> dict[str, str]:
    """What was measured before, by name."""
    parts = RESULTS.read_text().split("\n## ")[1:] if RESULTS.exists() else []
    return {name: table.strip() for name, _, table in (part.partition("\n") for part in parts)}


if __name__ == "__main__":
    main()
