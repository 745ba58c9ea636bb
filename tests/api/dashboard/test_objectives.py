"""A study of several objectives: its front, the history of each of them, and what a trial's parameters are held against."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.conftest import Bench, Visitor, has_drawn

pytestmark = pytest.mark.browser


@pytest.fixture
def study(bench: Bench) -> int:
    """Trial 2 is the most accurate, trial 0 costs least."""
    objectives = [{"name": "accuracy", "direction": "maximize"}, {"name": "cost", "direction": "minimize"}]
    made = bench.study("several", objectives=objectives)
    for number, (accuracy, cost) in enumerate([(0.5, 1.0), (0.7, 2.0), (0.9, 4.0), (0.6, 3.0)]):
        bench.add(made, {"accuracy": accuracy, "cost": cost}, number=number)
    return made


def test_front_and_history_of_each(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    expect(page.locator("figure", has_text="Pareto front").locator("figcaption")).to_contain_text("3 of 4 complete trials")
    history = page.locator("figure", has_text="Optimization history")
    expect(history.locator("figcaption")).to_contain_text("Best 0.9 at trial 2; 4 complete.")
    expect(page.get_by_role("heading", name="Leading trials by accuracy")).to_be_visible()
    page.get_by_label("Objective", exact=True).select_option("cost")
    expect(history.locator("figcaption")).to_contain_text("Best 1 at trial 0; 4 complete.")
    expect(page.get_by_role("heading", name="Leading trials by cost")).to_be_visible()
    history.locator("canvas").first.wait_for()
    assert has_drawn(page, "Optimization history")
    page.reload()
    expect(history.locator("figcaption")).to_contain_text("Best 1 at trial 0; 4 complete.")
    page.get_by_role("tab", name="Explore").click()
    expect(page.get_by_label("Objective", exact=True)).to_have_value("cost")


def test_parameters_beside_the_best_of_the_first_objective(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}/trials/1")
    table = visitor.page.get_by_role("region", name="Table: parameters")
    expect(table.get_by_role("columnheader")).to_have_text(["Parameter", "This trial", "Best accuracy ↑, 2"])
    expect(table.get_by_role("row").nth(1)).to_have_text(re.compile("^lr0.10.01$"))
    visitor.open(f"/studies/{study}/trials/2")
    expect(table.get_by_role("columnheader")).to_have_text(["Parameter", "This trial"])
