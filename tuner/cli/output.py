"""What commands print: tables for people, JSON for programs, and sentences on standard error.

Text that comes from a server is shown with its control characters made visible, so that no name and no log line can drive the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 10_000
"""Width where standard output is no terminal: nothing is cut off or wrapped."""


def print_json(value: BaseModel | Sequence[BaseModel] | Mapping[str, Any]) -> None:
    if isinstance(value, BaseModel):
        plain: Any = value.model_dump(mode="json")
    elif isinstance(value, Mapping):
        plain = dict(value)
    else:
        plain = [item.model_dump(mode="json") for item in value]
    sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=not _is_unicode()) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Columns whose values are all numbers stand to the right; None is left empty."""
    rows = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD if _is_unicode() else box.ASCII2, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = any(row[index] is not None for row in rows) and all(isinstance(row[index], int | float | None) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(show(value)) for value in row))
    _console().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """One fact a line; what is None or empty is left out."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        if text := show(value):
            sys.stdout.write(f"{name:<{width}}  {text}\n")


def say(text: str) -> None:
    """A sentence for the person at the terminal, apart from what is the command's result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def show(value: object) -> str:
    """A value as people read it: 4 significant digits, local time, control characters visible."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={show(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(show(item) for item in value)
    return make_visible(str(value))


def show_duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def show_age(moment: datetime | None) -> str | None:
    return None if moment is None else f"{show_duration(max(0.0, (datetime.now(UTC) - moment).total_seconds()))} ago"


def make_visible(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\t" else repr(c)[1:-1] for c in text)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
