"""Every view in every state that it has to bear: nothing is said on the console, nothing sticks out, axe (WCAG 2.2 AA) objects to nothing.

A page is looked at once and then made dark and narrow, which is quick; the slow test opens it anew for each theme and width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request

from tests.api.conftest import Server
from tests.api.dashboard.conftest import REPORT_VIOLATIONS, Visitor
from tests.api.dashboard.states import STATES, Seeded, seed
from tests.conftest import emptied
from tuner.db.postgres import Database
from tuner.settings import Settings
from tuner.wire import Scope

pytestmark = pytest.mark.browser

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_LAYOUT = ["color-contrast", "scrollable-region-focusable", "target-size"]
"""Rules whose outcome hangs on the theme or the width."""
WIDTHS = (1440, 1024, 390, 320)
THEMES = ("light", "dark")
PROJECT_VIEWS = {"studies": "/studies", "fleet": "/workers", "new study": "/new", "admin": "/admin"}
STUDY_VIEWS = {
    "overview": "/studies/{study}",
    "trials": "/studies/{study}?tab=trials",
    "explore": "/studies/{study}?tab=explore",
    "compare": "/studies/{study}?tab=compare",
    "configuration": "/studies/{study}?tab=configuration",
    "comparison": "/compare?studies={study},{beside}",
}
REFUSED = ("status of 409",)
"""What the browser itself writes on the console when there is nothing to compare yet."""

READY = """() => document.querySelector("main h1, main .empty") !== null && !document.querySelector(".skeleton")
    && [...document.querySelectorAll(".canvas")].every((box) => box.querySelector("canvas"))"""

# What reaches beyond the window, unless it lies in a box that scrolls; and what a box cuts off without dots and without a scroll bar.
MISPLACED = """() => {
    const wide = document.documentElement.clientWidth;
    const scrolls = (element) => /auto|scroll/.test(getComputedStyle(element).overflowX);
    const inScrollBox = (element) => { for (let e = element.parentElement; e; e = e.parentElement) if (scrolls(e)) return true; return false; };
    const named = (element) => `${element.tagName.toLowerCase()}.${element.className} "${element.textContent.trim().slice(0, 40)}"`;
    const found = [];
    if (document.documentElement.scrollWidth > wide) found.push(`the page is ${document.documentElement.scrollWidth} pixels wide`);
    for (const element of document.querySelectorAll("body *")) {
        if (element.closest("svg, .canvas, .visually-hidden, .skip, details:not([open]) .menu-panel") || !element.getClientRects().length) continue;
        const { right, left } = element.getBoundingClientRect();
        if ((right > wide + 1 || left < -1) && !inScrollBox(element)) found.push(`sticks out: ${named(element)}`);
        const style = getComputedStyle(element);
        const cut = element.scrollWidth > element.clientWidth + 1 && /hidden|clip/.test(style.overflowX) && style.textOverflow !== "ellipsis";
        if (cut) found.push(`cut off: ${named(element)}`);
    }
    return found.slice(0, 5);
}"""

# Menus opened one after the other: those whose panel reaches beyond the window.
MENUS = """async () => {
    const found = [];
    for (const menu of document.querySelectorAll("details.menu")) {
        const opened = new Promise((resolve) => menu.addEventListener("toggle", resolve, { once: true }));
        menu.open = true;
        await opened;
        const { left, right } = menu.lastElementChild.getBoundingClientRect();
        if (left < 0 || right > document.documentElement.clientWidth) found.push(`menu ${menu.textContent.slice(0, 40)}: ${left} to ${right}`);
        menu.open = false;
    }
    return found;
}"""

REPEATED = [".grid .row:nth-child(n+4)", "tbody tr:nth-child(n+4)", ".lazy:nth-child(n+3)", ".menu-panel .check:nth-of-type(n+3)"]
"""What only repeats what stands before it, and takes axe most of its time."""

OBJECTIONS = """async ([rules, exclude]) => {
    const { violations } = await axe.run({ exclude }, { runOnly: rules, resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) => nodes.slice(0, 3).map((node) => `${id}: ${node.target} ${node.failureSummary.slice(0, 300)}`));
}"""


class Window(Visitor):
    """A browser window that knows when its page has asked for all that it wants."""

    def __init__(self, context: BrowserContext, server: Server) -> None:
        context.add_init_script(REPORT_VIOLATIONS)
        super().__init__(context=context, page=context.new_page(), server=server)
        self._asked: set[Request] = set()
        self.listen(self.page)
        self.page.on("request", self._on_request)
        self.page.on("requestfinished", self._on_answer)
        self.page.on("requestfailed", self._on_answer)

    def _on_request(self, request: Request) -> None:
        if "/v1/events" not in request.url:
            self._asked.add(request)

    def _on_answer(self, request: Request) -> None:
        self._asked.discard(request)

    def enter(self, project: Seeded) -> None:
        headers = {"Origin": self.server.url}
        answer = self.page.request.post(f"{self.server.url}/v1/sessions", data={"key": project.key}, headers=headers)
        assert answer.status == 204

    def settle(self) -> None:
        """Until the view stands, its charts are drawn, and nothing has been under way for a moment."""
        self.page.wait_for_function(READY)
        deadline, quiet = monotonic() + 15, 0
        while quiet < 3:
            assert monotonic() < deadline, f"still asks for {[request.url for request in self._asked]}"
            self.page.wait_for_timeout(30)
            quiet = 0 if self._asked else quiet + 1
        self.page.wait_for_function(READY)


def misplaced(page: Page) -> list[str]:
    """What is still in the wrong place a second after the window changed: charts follow it a moment later."""
    deadline = monotonic() + 1
    while (found := page.evaluate(MISPLACED)) and monotonic() < deadline:
        page.wait_for_timeout(50)
    return [*found, *page.evaluate(MENUS)]


def objections(page: Page, rules: list[str], *, exclude: list[str]) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    found: list[str] = page.evaluate(OBJECTIONS, [rules, exclude])
    return found


def views(project: Seeded) -> dict[str, str]:
    paths = dict(PROJECT_VIEWS)
    if project.study is not None:
        paths |= {name: path.format(study=project.study, beside=project.beside) for name, path in STUDY_VIEWS.items()}
    if project.trial is not None:
        paths["trial"] = f"/studies/{project.study}/trials/{project.trial}"
    return paths


@pytest.fixture(scope="module")
def server(_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    database = emptied(_database)
    live = Server(database, Settings(database_url=database.url, data=tmp_path_factory.mktemp("views"), port=0))
    yield live
    live.stop()


@pytest.fixture(scope="module")
def projects(server: Server) -> dict[str, Seeded]:
    """Each state in a project of its own, made when it is first asked for."""
    return {}


@pytest.fixture
def project(server: Server, projects: dict[str, Seeded], request: pytest.FixtureRequest) -> Seeded:
    if request.param not in projects:
        projects[request.param] = seed(server, request.param)
    return projects[request.param]


@pytest.fixture(scope="module")
def window(browser: Browser, server: Server) -> Iterator[Window]:
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900}, color_scheme="light")
    yield Window(context, server)
    context.close()


GO: str = """(path) => { history.pushState(null, "", path); dispatchEvent(new Event("tuner:address")); scrollTo(0, 0); }"""


@pytest.mark.parametrize(
    "project",
    [pytest.param(state, marks=pytest.mark.slow if state in ("wide", "odd", "conditional") else ()) for state in STATES],
    indirect=True,
)
def test_views_bear_the_state(window: Window, project: Seeded) -> None:
    page = window.page
    window.enter(project)
    wrong: list[str] = []

    def note(where: str, found: list[str]) -> None:
        wrong.extend(f"{where}: {line}" for line in found)

    window.open("/studies")
    for view, path in views(project).items():
        window.complaints.clear()
        window.allowed = REFUSED if view in ("compare", "comparison") else ()
        page.evaluate(GO, path)
        window.settle()
        note(f"{view}, light, 1440", [*objections(page, RULES, exclude=REPEATED), *misplaced(page)])
        page.emulate_media(color_scheme="dark")
        note(f"{view}, dark, 1440", objections(page, ["color-contrast"], exclude=REPEATED))
        for width in WIDTHS[1:]:
            page.set_viewport_size({"width": width, "height": 900})
            note(f"{view}, dark, {width}", misplaced(page))
        note(f"{view}, dark, {WIDTHS[-1]}", objections(page, OF_LAYOUT, exclude=REPEATED))
        note(view, window.unexpected())
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def looked_at(browser: Browser, server: Server) -> Iterator[Window]:
    """A window of its own, whose cookies and dialogs disturb no other test."""
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900}, color_scheme="light")
    yield Window(context, server)
    context.close()


def wrong_with(window: Window) -> list[str]:
    """What is wrong with the page as it stands, in both themes and at the widest and the narrowest."""
    found = [*objections(window.page, RULES, exclude=[]), *misplaced(window.page)]
    window.page.emulate_media(color_scheme="dark")
    window.page.set_viewport_size({"width": WIDTHS[-1], "height": 900})
    found += [*objections(window.page, OF_LAYOUT, exclude=[]), *misplaced(window.page), *window.unexpected()]
    window.page.emulate_media(color_scheme="light")
    window.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    return found


def test_the_login_bears_a_look(looked_at: Window) -> None:
    looked_at.open("/login")
    looked_at.page.get_by_label("API key").wait_for()
    assert wrong_with(looked_at) == []


@pytest.mark.parametrize("project", ["one"], indirect=True)
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nowhere", "There is no such page"),
        ("/studies/987654", "No study here"),
        ("/studies/{study}/trials/987654", "No trial here"),
    ],
)
def test_what_is_not_there_bears_a_look(looked_at: Window, project: Seeded, path: str, words: str) -> None:
    looked_at.allowed = ("status of 404",)
    looked_at.enter(project)
    looked_at.open("/studies")
    looked_at.settle()
    looked_at.page.evaluate(GO, path.format(study=project.study))
    looked_at.page.get_by_role("heading", name=words, level=1).wait_for()
    assert wrong_with(looked_at) == []


@pytest.mark.parametrize("project", ["one"], indirect=True)
@pytest.mark.parametrize("button", ["Add trial", "Stop", "Run again 1", "Keys"])
def test_open_dialogs_bear_a_look(looked_at: Window, project: Seeded, button: str) -> None:
    looked_at.enter(project)
    looked_at.open(f"/studies/{project.study}?tab=trials")
    page = looked_at.page
    page.get_by_label("Select trial 0").check()
    page.get_by_role("button", name=button, exact=button != "Keys").click()
    page.get_by_role("dialog").wait_for()
    assert wrong_with(looked_at) == []


READING = re.compile(
    r"Copy.*|Table|Save|Settings|Columns|Compact|Export|Error|As at first|Picture.*|Drawing.*|Data .*|Linear|Log|Trials?|Time|Typical|All values"
    r"|GPU-hours|Expected|As it ran|PED-ANOVA|fANOVA|Best|Ranks|Contours|1 day|1 h|6 h|15 min|(Running|Waiting|Complete|Pruned|Failed)\d+|.+: (further .*|upside down|logarithmic|leave out)"
)
"""Buttons that only look: all that a viewer is offered."""


BUTTONS = """() => [...document.querySelectorAll("main button:not([role=tab]), main summary")]
    .filter((button) => !button.closest("[role=columnheader]")).map((button) => (button.ariaLabel ?? button.textContent).trim())"""


@pytest.mark.parametrize("project", ["one", "running"], indirect=True)
def test_viewers_are_offered_nothing_that_changes(
    window: Window, server: Server, project: Seeded, request: pytest.FixtureRequest
) -> None:
    viewer = replace(project, key=server.make_key(Scope.VIEWER, request.node.callspec.params["project"]))
    window.allowed = REFUSED
    window.enter(viewer)
    window.open("/studies")
    offered = set()
    for view, path in views(viewer).items():
        window.page.evaluate(GO, path)
        window.settle()
        labels = window.page.evaluate(BUTTONS)
        offered |= {f"{view}: {label}" for label in labels if not READING.fullmatch(label)}
        assert window.page.locator("main form:not(.jump), main a[href='/new']").count() == 0, view
    assert offered == set()


def contexts() -> list[Any]:
    """Every theme and width with the longest names; with each other state one of them in turn, since each takes a quarter of a minute."""
    every = [(theme, width) for theme in THEMES for width in WIDTHS]
    chosen = [(state, *every[place % len(every)]) for place, state in enumerate(STATES)] + [
        ("long_names", *each) for each in every
    ]
    return [pytest.param(*each, id="-".join(map(str, each))) for each in dict.fromkeys(chosen)]


@pytest.mark.slow
@pytest.mark.parametrize(("project", "theme", "width"), contexts(), indirect=["project"])
def test_views_opened_anew(browser: Browser, server: Server, project: Seeded, theme: Any, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    window = Window(context, server)
    window.enter(project)
    wrong: list[str] = []
    for view, path in views(project).items():
        window.complaints.clear()
        window.allowed = REFUSED if view in ("compare", "comparison") else ()
        window.open(path)
        window.settle()
        found = [*objections(window.page, RULES, exclude=[]), *misplaced(window.page), *window.unexpected()]
        wrong.extend(f"{view}: {line}" for line in found)
    context.close()
    assert not wrong, "\n".join(wrong)
