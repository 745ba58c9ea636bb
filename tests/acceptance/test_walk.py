"""A person's first walk: `tuner up`, the address that it prints, a study from the form, and everything one then wants to know of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.tuner.test_cli import run
from tests.tuner.test_cli_up import EXAMPLES, Up
from tests.tuner.test_cli_up import folder as folder
from tests.tuner.test_cli_up import start as start

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PATIENCE = 120_000
"""Milliseconds for what workers have to do, on a machine that is busy with other tests."""


def test_from_the_printed_address_to_a_paused_study(browser: Browser, start: Callable[..., Up], folder: Path) -> None:
    up = start("--workers", "1")
    found = re.search(r"dashboard +(\S+)", up.said)
    assert found is not None
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    page.goto(found[1])
    page.get_by_role("link", name="New study").first.click()
    page.get_by_role("textbox", name="Study file").fill((EXAMPLES / "optimizers-on-digits.yaml").read_text())
    expect(page.get_by_text("Valid: 6 parameters, 60 trials.")).to_be_visible()
    page.get_by_role("button", name="Create study").click()
    expect(page.get_by_role("heading", name="optimizers-on-digits")).to_be_visible()

    # It runs, and the page shows it without being asked again.
    best = page.get_by_role("link", name=re.compile(r"^trial \d+$")).first
    expect(best).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text(re.compile(r"\b([4-9]|\d\d) complete")).first).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused").first).to_be_visible()

    # Which optimizer it says is better, and how sure that is.
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Compare by").select_option("optimizer.name")
    expect(page.get_by_role("region", name="Levels")).to_be_visible(timeout=PATIENCE)

    # The best trial: why, and the same again.
    page.get_by_role("tab", name="Overview").click()
    best.click()
    expect(page.get_by_role("heading", name=re.compile(r"^Trial \d+"))).to_be_visible()
    expect(page.get_by_role("region", name="Attempts", exact=True)).to_contain_text("complete", timeout=PATIENCE)
    page.get_by_role("region", name="Repeat it").get_by_role("button", name="Copy").click()
    command = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"tuner trial rerun optimizers-on-digits/\d+ --verify", command)
    again = run(*shlex.split(command)[1:], cwd=folder)
    assert again.returncode == 0, again.stderr
    assert complaints == []
    context.close()
