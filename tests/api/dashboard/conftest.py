"""Visitors of the dashboard, driven by Playwright, and what they visit; a page fails its test on any console error or CSP violation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from api.dashboard import pages
from tests.api.conftest import Server
from tuner.wire import Scope

HOSTILE = "<img src=x onerror=pwned.push(1)>"
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => console.error(`csp: ${event.violatedDirective} ${event.blockedURI}`));
window.pwned = [];
"""


@dataclass
class Visitor:
    """A browser window, and what its console complained about; `allowed` are parts of complaints that a test expects."""

    context: BrowserContext
    page: Page
    server: Server
    complaints: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()

    def listen(self, page: Page) -> None:
        page.set_default_timeout(15_000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(error.stack or str(error)))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")

    def open(self, path: str) -> None:
        self.page.goto(self.server.url + path)

    def log_in(self, path: str = "/", scope: Scope = Scope.ADMIN) -> None:
        with self.server.http(self.server.make_key(scope)) as http:
            code = http.post("/v1/sessions/codes").raise_for_status().json()["code"]
        self.open(f"/login?next={quote(path)}#code={code}")
        self.page.wait_for_url(self.server.url + path)

    def unexpected(self) -> list[str]:
        return [complaint for complaint in self.complaints if not any(part in complaint for part in self.allowed)]


@pytest.fixture
def visitor(browser: Browser, server: Server, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    options: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}, **getattr(request, "param", {})}
    context = browser.new_context(**options)
    context.add_init_script(REPORT_VIOLATIONS)
    visiting = Visitor(context=context, page=context.new_page(), server=server)
    visiting.listen(visiting.page)
    yield visiting
    context.close()
    assert visiting.unexpected() == []


@pytest.fixture
def call(visitor: Visitor) -> Any:
    """call(module, expression): the expression's value, with the module's exports in scope as `m`."""
    visitor.open("/login")

    def evaluate(module: str, expression: str) -> Any:
        address = f"{pages.static_files().base}/{module}"
        return visitor.page.evaluate(f"import({json.dumps(address)}).then((m) => {expression})")

    return evaluate


@dataclass
class Bench:
    """Makes studies and trials over HTTP, as clients do."""

    http: httpx.Client

    def study(self, name: str = "digits", **changes: Any) -> int:
        spec = {
            "name": name,
            "objectives": [{"name": "accuracy", "direction": "maximize"}],
            "space": {
                "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
                "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
                "momentum": {"type": "float", "low": 0.0, "high": 1.0, "when": {"optimizer": ["sgd"]}},
            },
            "sampler": {"name": "random", "seed": 1},
            "pruner": {"name": "none"},
            "trial": {"executor": "external"},
            "limits": {"max_trials": 500},
            **changes,
        }
        return int(self.http.post("/v1/studies", json=spec).raise_for_status().json()["id"])

    def params(self, number: int) -> dict[str, Any]:
        params: dict[str, Any] = {"lr": 10.0 ** -(number % 5), "optimizer": ("sgd", "adam")[number % 2]}
        return params | ({"momentum": 0.5} if params["optimizer"] == "sgd" else {})

    def add(self, study: int, values: dict[str, Any] | None, state: str = "COMPLETE", number: int = 0) -> dict[str, Any]:
        """A trial finished elsewhere."""
        body = {"params": self.params(number), "state": state, **({} if values is None else {"values": values})}
        trial: dict[str, Any] = self.http.post(f"/v1/studies/{study}/trials", json=body).raise_for_status().json()
        return trial

    def lease(self, study: int, number: int = 0, worker: str | None = None, **request: Any) -> dict[str, Any]:
        """Enqueue a trial and lease it."""
        self.http.post(f"/v1/studies/{study}/trials", json={"params": self.params(number)}).raise_for_status()
        return self.ask(study, worker, **request)

    def ask(self, study: int, worker: str | None = None, **request: Any) -> dict[str, Any]:
        """Lease a trial that waits."""
        answer = self.http.post(f"/v1/studies/{study}/ask", json={"count": 1, "wait": 0, "worker": worker, **request})
        lease: dict[str, Any] = answer.raise_for_status().json()["leases"][0]
        return lease

    def worker(self, name: str, **facts: Any) -> None:
        self.http.post("/v1/workers", json={"name": name, "slots": 2, **facts}).raise_for_status()

    def report(self, lease: dict[str, Any], step: int, value: float) -> None:
        body = {"reports": [{"step": step, "values": {"accuracy": value}}]}
        self.http.post(f"/v1/leases/{lease['id']}/reports", json=body).raise_for_status()

    def tell(self, lease: dict[str, Any], value: float | None, **body: Any) -> None:
        outcome = {"state": "COMPLETE", "values": {"accuracy": value}} if value is not None else {"state": "FAIL"}
        self.http.post(f"/v1/leases/{lease['id']}/tell", json=outcome | body).raise_for_status()


@pytest.fixture
def bench(http: httpx.Client) -> Bench:
    return Bench(http)


def stat(page: Page, label: str) -> Locator:
    return page.locator(".stat", has=page.get_by_text(re.compile(f"^{re.escape(label)}"), exact=False)).first


def wait_for_live(page: Page) -> None:
    expect(page.locator(".connection")).to_have_attribute("data-state", "live")


def has_drawn(page: Page, figure: str) -> bool:
    """Whether the canvas of a chart has pixels that are not transparent."""
    return bool(
        page.locator("figure", has_text=figure)
        .locator("canvas")
        .first.evaluate(
            "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte !== 0)"
        )
    )
