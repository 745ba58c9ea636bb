"""Run every benchmark and write one file of results: `make bench` (about ten minutes), or `python -m benchmarks NAME ...` for some."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

NAMES = ("service", "suggest", "startup")
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    names = sys.argv[1:] or list(NAMES)
    sections = []
    for name in names:
        table = importlib.import_module(f"benchmarks.{name}").main([])
        sections.append(f"## {name}\n{table}\n")
        print(table, flush=True)
    if set(names) == set(NAMES):
        RESULTS.write_text(
            "# Measured\nWritten by `make bench`. Machines differ and are noisy: the ratios matter.\n\n" + "\n".join(sections)
        )


if __name__ == "__main__":
    main()
