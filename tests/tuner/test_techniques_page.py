"""docs/techniques.md says what the catalogue says: it is made of it, anew whenever the catalogue changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import technique_page as page
from benchmarks.technique_studies import plans
from tuner import catalog
from tuner.spec import StudySpec

ROOT = Path(__file__).parent.parent.parent
ROWS = [(kind, name) for kind in page.TITLES for name in catalog.names(kind)]


def rows(kind: str) -> dict[str, list[str]]:
    """The page's table of a kind: by name the other cells."""
    section = page.PAGE.read_text().partition(f"\n## {page.TITLES[kind]}\n")[2].partition("\n## ")[0]
    found = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            name, *cells = (cell.replace("\\|", "|") for cell in line.removeprefix("| ").removesuffix(" |").split(" | "))
            found[name.strip("`")] = cells
    return found


@pytest.mark.parametrize("kind", page.TITLES)
def test_every_technique_has_its_row(kind: str) -> None:
    found = rows(kind)
    assert list(found) == catalog.names(kind)
    for entry in catalog.entries(kind):
        summary, when_to_use, hyperparameters, source, _ = found[entry.name]
        assert (summary, when_to_use, source) == (entry.summary, entry.when_to_use, entry.source)
        listed = [
            item.partition(":")[0].strip("`").partition("`")[0].partition(" =")[0] for item in hyperparameters.split("<br>")
        ]
        assert listed == ([h.name for h in entry.hyperparameters] or ["none"])


def test_every_technique_of_a_study_is_a_kind_of_the_page() -> None:
    assert set(page.TITLES) == set(catalog.SECTIONS.values())


def test_every_row_is_measured_and_every_trial_counted() -> None:
    measured = page.read_record()["rows"]
    assert set(measured) == {"/".join(row) for row in ROWS}
    for name, result in measured.items():
        assert sum(result["states"].values()) == result["trials"], name
        assert result["best"] is not None, name
        assert set(result["states"]) <= {"COMPLETE", "nan", "exception"}, name


def test_the_studies_are_valid_and_cover_the_catalogue(tmp_path: Path) -> None:
    found = plans(tmp_path)
    assert set(found) == set(ROWS)
    for (kind, name), plan in found.items():
        StudySpec.parse(plan.spec(f"{kind}-{name}"))


def test_the_readme_leads_there() -> None:
    assert "docs/techniques.md" in (ROOT / "README.md").read_text()
