"""Chromium on the dashboard, as a visitor uses it: pages opened, pressed, typed into and dragged over by real input events, and the time
from such an event until its result has been painted.

What is painted is asked at the start of each frame, of the one before: a condition on the page, and for a chart also that its canvas has been
drawn anew since. Where the browser itself tells when the frame after an input was on the screen (Event Timing, to 8 ms) and that is later, it
counts. Heap is that of JavaScript after a collection, with what typed arrays hold.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
_HALF_TYPED = "status of 422"
"""What Chromium says of a filter that was sent before it was typed to its end."""
WATCH = """
(() => {
  const watch = { input: 0, drawn: new WeakMap(), lastDrawn: 0 };
  for (const kind of ["pointerup", "click", "keydown", "input"]) addEventListener(kind, (event) => { watch.input = event.timeStamp; }, true);
  for (const name of ["stroke", "fill", "clearRect"]) {
    const original = CanvasRenderingContext2D.prototype[name];
    CanvasRenderingContext2D.prototype[name] = function (...given) {
      watch.lastDrawn = performance.now();
      watch.drawn.set(this.canvas, watch.lastDrawn);
      return original.apply(this, given);
    };
  }
  // Milliseconds from each event, by when it was made, until the frame after it was on the screen.
  const shown = new Map();
  new PerformanceObserver((list) => { for (const { startTime, duration } of list.getEntries()) shown.set(Math.round(startTime), duration); })
    .observe({ type: "event", durationThreshold: 16 });
  const frame = () => new Promise(requestAnimationFrame);
  const later = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const chart = (title) => [...document.querySelectorAll("figure.chart")].find((found) => found.querySelector("h2")?.textContent === title);
  // Milliseconds from the last input (or from the navigation) until the frame was over that showed the condition and, of `title`, a chart drawn no
  // earlier. Charts are drawn within a frame, all else between frames.
  watch.until = async (condition, title, wait, fromInput) => {
    const holds = new Function("chart", `return (${condition})`);
    const deadline = performance.now() + wait;
    let [before, since] = [performance.now(), null];
    for (;;) {
      await frame();
      const now = performance.now();
      if (now > deadline) throw new Error(`not painted in time: ${condition}`);
      const canvases = title ? [...(chart(title)?.querySelectorAll("canvas") ?? [])] : [];
      if (since !== null && (!title || canvases.some((canvas) => (watch.drawn.get(canvas) ?? -1) >= since))) return now - (fromInput ? watch.input : 0);
      if (holds(chart)) since ??= before; // it came to hold after the frame before had begun
      before = now;
    }
  };
  // Milliseconds from the last input until the first frame after it was on the screen; 0 if that was at once. Told by the browser some time later.
  watch.shown = async () => {
    await later(300);
    return shown.get(Math.round(watch.input)) ?? 0;
  };
  // Milliseconds from the last input until the last canvas was drawn, once none has been for a while.
  watch.settled = async (quiet) => {
    const started = performance.now();
    while (performance.now() - Math.max(started, watch.lastDrawn) < quiet) await later(50);
    return Math.max(0, watch.lastDrawn - watch.input);
  };
  window.watch = watch;
})();
"""


@dataclass(frozen=True)
class Felt:
    """Milliseconds of one interaction: as the user waits, and of CPU in the page's main thread, which a busy machine does not lengthen."""

    wall: float
    cpu: float


@dataclass
class Visit:
    """One window, logged in. `received` counts bytes on the wire by type of resource, `requests` paths without their query."""

    page: Page
    session: CDPSession
    server: str
    received: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def painted(self, condition: str, *, chart: str | None = None, seconds: float = 60.0) -> float:
        """Milliseconds from the start of the navigation until `condition` (JavaScript) held and was painted."""
        arguments = [condition, chart, seconds * 1000]
        return float(self.page.evaluate("([condition, chart, wait]) => watch.until(condition, chart, wait, false)", arguments))

    def felt(self, act: Callable[[], object], condition: str, *, chart: str | None = None, seconds: float = 60.0) -> Felt:
        """From the last input event of `act` until the condition, which does not hold before, was painted."""
        arguments = [condition, chart, seconds * 1000]
        self.page.evaluate(
            "([condition, chart, wait]) => { watch.result = watch.until(condition, chart, wait, true); }", arguments
        )
        before = self.busy()
        act()
        wall = float(self.page.evaluate("watch.result"))
        cpu = 1000 * (self.busy() - before)
        return Felt(max(wall, float(self.page.evaluate("watch.shown()"))), cpu)

    def settled(self, quiet: int = 400) -> float:
        """Milliseconds from the last input event until the last chart was drawn."""
        return float(self.page.evaluate("(quiet) => watch.settled(quiet)", quiet))

    def open(self, path: str, condition: str, *, chart: str | None = None, seconds: float = 60.0) -> float:
        """Milliseconds from the start of the navigation until the condition was painted."""
        self.page.goto(self.server + path, wait_until="commit")
        return self.painted(condition, chart=chart, seconds=seconds)

    def heap(self) -> int:
        """Bytes of JavaScript's heap after a collection, backing stores of typed arrays included."""
        self.session.send("HeapProfiler.collectGarbage")
        usage = self.session.send("Runtime.getHeapUsage")
        return int(usage["usedSize"]) + int(usage.get("backingStorageSize", 0))

    def nodes(self) -> int:
        return int(self.page.evaluate("document.querySelectorAll('*').length"))

    def busy(self) -> float:
        """Seconds of CPU that the page's main thread has used so far."""
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


@contextmanager
def chromium() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        raise SystemExit("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


def visit(browser: Browser, server: str, key: str) -> Visit:
    """A new window with a cache of its own, at the fleet's page."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(WATCH)
    page = context.new_page()
    session = context.new_cdp_session(page)
    visiting = Visit(page, session, server)
    _count(visiting)
    with httpx.Client(base_url=server, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as http:
        code = http.post("/v1/sessions/codes").raise_for_status().json()["code"]
    page.goto(f"{server}/login?next={quote('/workers')}#code={code}")
    page.wait_for_url(f"{server}/workers")
    return visiting


def _count(visiting: Visit) -> None:
    kinds: dict[str, str] = {}

    def on_response(event: dict[str, Any]) -> None:
        kinds[event["requestId"]] = event["type"]
        visiting.requests.append(event["response"]["url"].removeprefix(visiting.server).partition("?")[0])

    def on_data(event: dict[str, Any]) -> None:
        kind = kinds.get(event["requestId"], "Other")
        visiting.received[kind] = visiting.received.get(kind, 0) + max(0, int(event["encodedDataLength"]))

    visiting.session.send("Network.enable")
    visiting.session.send("Performance.enable", {"timeDomain": "threadTicks"})
    visiting.session.on("Network.responseReceived", on_response)
    visiting.session.on("Network.dataReceived", on_data)
    visiting.page.on("pageerror", lambda error: visiting.complaints.append(error.stack or str(error)))
    visiting.page.on(
        "console",
        lambda message: (
            visiting.complaints.append(message.text)
            if message.type in ("error", "warning") and _HALF_TYPED not in message.text
            else None
        ),
    )
