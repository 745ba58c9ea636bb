"""What the dashboard's modules ask the server for and when: hooks and components on a blank stage, over a server made up here and a clock
that runs as fast as one likes."""

from __future__ import annotations

from typing import Any

import pytest

from api.dashboard import pages
from tests.api.dashboard.conftest import Visitor

pytestmark = pytest.mark.browser

# `answers(path)` gives an answer's body, or a status; `asked` are the paths. A stream stays silent and open until `send`, once `streams` is set.
STAGE = """
window.asked = [];
window.shown = null;
window.streams = false;
window.fetch = async (address, { signal } = {}) => {
    asked.push(address);
    if (address.startsWith("/v1/events")) {
        if (streams === "gone") return new Response('{"code": "study_not_found"}', { status: 404 });
        if (!streams) return new Promise((_, fail) => signal.addEventListener("abort", () => fail(new DOMException("", "AbortError"))));
        const encoder = new TextEncoder();
        const body = new ReadableStream({ start: (controller) => {
            window.send = (event, data) => controller.enqueue(encoder.encode(`event: ${event}\\ndata: ${JSON.stringify(data)}\\n\\n`));
            controller.enqueue(encoder.encode(": alive\\n\\n"));
            signal.addEventListener("abort", () => controller.error(new DOMException("", "AbortError")));
        } });
        return new Response(body);
    }
    const body = await answers(address);
    return typeof body === "number" ? new Response("{}", { status: body }) : new Response(JSON.stringify(body));
};
window.count = (part) => asked.filter((address) => address.includes(part)).length;
"""


class Stage:
    """`run` a script with the exports of the modules named as `m`, `preact` and `show(component, props)`; let time `pass_`."""

    def __init__(self, visitor: Visitor, query: str = "") -> None:
        self.page = visitor.page
        self.page.clock.install()
        visitor.open(f"/login{query}")
        self.page.evaluate(STAGE)

    def run(self, script: str, *names: str) -> Any:
        base = pages.static_files().base
        load = """async ([base, names]) => {
            const preact = await import(`${base}/vendor/htm-preact.js`);
            const m = Object.assign({}, ...(await Promise.all(names.map((name) => import(`${base}/${name}`)))));
            const root = (window.root ??= document.body.appendChild(document.createElement("main")));
            const show = (component, props) => preact.render(preact.html`<${component} ...${props} />`, root);
            %s
        }"""
        return self.page.evaluate(load % script, [base, names])

    def see(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def pass_(self, milliseconds: int) -> None:
        for _ in range(0, milliseconds, 250):
            self.page.clock.run_for(250)


@pytest.fixture
def stage(visitor: Visitor) -> Stage:
    return Stage(visitor)


STUDIES = """
window.studies = [3, 2, 1].map((id) => ({ id, name: `s${id}`, archived: false, finished_at: null }));
window.failing = 0;
window.answers = (address) => (failing-- > 0 ? 500 : { items: studies, next_cursor: null });
window.List = () => ((window.connection = m.useConnection?.()), (window.shown = m.useStudies("", "", false)), null);
"""
NAMES = "shown.items?.map(({ name }) => name)"


def test_a_list_that_once_failed_to_load_is_live(stage: Stage) -> None:
    stage.run(f"{STUDIES} failing = 1; streams = true; show(List)", "study_list.js")
    stage.pass_(2_000)
    assert stage.see(NAMES) == ["s3", "s2", "s1"]
    stage.see("send('study', { ...studies[1], name: 'renamed' })")
    stage.pass_(500)
    assert stage.see(NAMES) == ["s3", "renamed", "s1"]
    stage.see("send('deleted', { id: 3 })")
    stage.pass_(500)
    assert stage.see(NAMES) == ["renamed", "s1"]
    assert stage.see("count('/v1/studies')") == 2, "nothing that was shown is loaded anew"


def test_a_list_without_a_stream_is_read_again_as_far_as_it_is_shown(stage: Stage) -> None:
    pages_of = """
        studies = Array.from({ length: 60 }, (_, i) => ({ ...studies[0], id: 60 - i, name: `s${60 - i}` }));
        answers = (address) => {
            const after = Number(new URLSearchParams(address.split("?")[1]).get("cursor") ?? Infinity);
            const items = studies.filter(({ id }) => id < after).slice(0, 50);
            return { items, next_cursor: studies.at(-1).id < items.at(-1).id ? String(items.at(-1).id) : null };
        };"""
    stage.run(f"{STUDIES} {pages_of} show(List)", "study_list.js", "connection.js")
    stage.pass_(500)
    assert stage.see(NAMES)[-1] == "s11"
    stage.see("shown.more()")
    stage.pass_(500)
    assert stage.see(NAMES)[-1] == "s1"
    stage.see(
        "studies = studies.filter(({ id }) => id !== 59).map((study) => (study.id === 1 ? { ...study, name: 'renamed' } : study))"
    )
    stage.pass_(30_000)
    assert stage.see(NAMES) == [f"s{number}" for number in range(60, 1, -1) if number != 59] + ["renamed"]
    assert stage.see("connection.state") == "polling"


def test_what_is_no_longer_there_is_not_waited_for(stage: Stage) -> None:
    follow = "m.follow('/v1/events?study=1', { lastId: () => 0, onEvent: ({ event }) => heard.push(event), onState: (state) => heard.push(state) })"
    stage.run(f"window.heard = []; window.streams = 'gone'; {follow}", "stream.js")
    stage.pass_(10_000)
    assert stage.see("heard") == ["connecting", "live", "deleted"]
    assert stage.see("count('/v1/events')") == 1


PROGRESS = """
window.answers = (address) => failing-- > 0 ? 500 : ({ items: new URLSearchParams(address.split("?")[1]).get("ids").split(",").map((id) => ({ study_id: Number(id), best: [] })) });
window.failing = 0;
window.Shown = ({ items }) => ((window.shown = m.useProgress(items)), null);
window.study = (id, running) => ({ id, finished_at: running ? null : "2026-01-01" });
window.draw = (items) => show(Shown, { items });
"""


def test_progress_is_read_once_more_when_a_study_ends(stage: Stage) -> None:
    stage.run(f"{PROGRESS} draw([study(1, true), study(2, false)])", "study_list.js")
    stage.pass_(500)
    assert stage.see("asked") == ["/v1/progress?ids=1,2"]
    stage.see("asked.length = 0; failing = 1; draw([study(1, false), study(2, false)])")
    stage.pass_(500)
    assert stage.see("asked") == ["/v1/progress?ids=1"]
    stage.pass_(40_000)
    assert stage.see("asked") == ["/v1/progress?ids=1"] * 2, "again where it failed, then no more"


def test_studies_that_come_and_go_do_not_put_progress_off(stage: Stage) -> None:
    stage.run(f"{PROGRESS} draw([study(1, true)])", "study_list.js")
    for second in range(40):
        stage.see(f"draw([study(1, true), study({second + 10}, true)])")
        stage.pass_(1_000)
    assert stage.see("asked.filter((address) => /[=,]1(,|$)/.test(address)).length") == 3


@pytest.mark.parametrize(
    ("module", "component", "part"),
    [
        ("charts/importance.js", "({ feed }) => (m.useImportance(feed, { name: 'loss' }, 'fanova'), null)", "/importance"),
        ("advice.js", "m.Advice", "/advice"),
    ],
)
def test_trials_that_end_all_the_time_put_no_question_off(stage: Stage, module: str, component: str, part: str) -> None:
    stage.run(
        f"""window.answers = () => ({{ importance: {{}}, items: [] }});
        const Asking = {component};
        window.draw = (complete) => {{
            const study = {{ counts: {{ complete, pruned: 0, fail: 0 }} }};
            show(Asking, {{ study, feed: {{ path: "/v1/studies/1", study }} }});
        }};""",
        module,
    )
    for second in range(50):
        stage.see(f"draw({second})")
        stage.pass_(1_000)
    assert 3 <= stage.see(f"count('{part}')") <= 4, "with ten trials, and each quarter of a minute after that"


LEVEL = """{ level: "a", trials: { counted: 3 }, best: null, expected_best: null, rank: null, sensitivity: null, seconds: 1, gpu_seconds: 0, curve: [] }"""
PANELS = f"""
window.failing = 0;
window.refusal = 503;
window.answers = (address) => failing-- > 0 ? refusal
    : address.includes("/compare") ? {{ conclusion: "no difference", by: "x", k: 1, levels: [{LEVEL}], pairs: [], notes: [], test: "t", budgets: [], metric: "loss" }}
    : {{ importance: {{ lr: 1 }}, items: [{{ kind: "a", sentence: "Train for longer." }}] }};
window.draw = (complete) => {{
    const study = {{ id: 1, counts: {{ complete, pruned: 0, fail: 0 }}, spec: {{ space: {{ x: {{ type: "float" }} }} }} }};
    show(Asking, {{ study, feed: {{ path: "/v1/studies/1", study, objectives: [{{ name: "loss", direction: "minimize" }}] }} }});
}};
"""
IMPORTANCE = """({ feed }) => {
    const answer = m.useImportance(feed, feed.objectives[0], "fanova");
    return preact.html`<${m.Importance} feed=${feed} objective=${feed.objectives[0]} answer=${answer} method="fanova" setMethod=${() => {}} />`;
}"""


@pytest.mark.parametrize(
    ("module", "component", "part", "text"),
    [
        ("charts/importance.js", IMPORTANCE, "/importance", "100 percent"),
        ("advice.js", "m.Advice", "/advice", "Train for longer."),
        ("views/levels.js", "m.Levels", "/compare", "no difference"),
    ],
)
def test_panels_keep_their_answer_and_ask_again(stage: Stage, module: str, component: str, part: str, text: str) -> None:
    stage.run(f"const Asking = {component}; {PANELS} draw(20)", module)
    there = f"root.innerHTML.includes('{text}')"
    stage.pass_(500)
    assert stage.see(there)
    stage.see("failing = 3; draw(21)")
    stage.pass_(16_000)
    assert stage.see(f"[count('{part}') > 1, {there}]") == [True, True]
    stage.pass_(6_000)
    assert stage.see(f"[failing, {there}]") == [-1, True], "asked until there was an answer, without another trial"
    stage.see("refusal = 409; failing = 1; draw(22)")
    stage.pass_(16_000)
    assert stage.see(f"[failing, {there}]") == [0, True]


@pytest.mark.parametrize(
    ("module", "component"),
    [("charts/importance.js", IMPORTANCE), ("advice.js", "m.Advice"), ("views/levels.js", "m.Levels")],
)
def test_a_panel_that_failed_at_first_recovers_after_the_last_trial(stage: Stage, module: str, component: str) -> None:
    stage.run(f"const Asking = {component}; {PANELS} failing = 2; draw(20)", module)
    stage.pass_(500)
    assert stage.see("failing") == 1
    stage.pass_(4_000)
    assert stage.see("failing") == -1
    assert stage.see("/100 percent|Train for longer|no difference/.test(root.innerHTML)")


def test_levels_are_compared_while_trials_end_all_the_time(stage: Stage) -> None:
    stage.run(f"const Asking = m.Levels; {PANELS} failing = 1000; refusal = 409; draw(20)", "views/levels.js")
    for second in range(50):
        stage.see(f"draw({second + 20})")
        stage.pass_(1_000)
    assert stage.see("count('/compare')") == 4, "at once, and each quarter of a minute"


FEED = """
window.answers = (address) =>
    address.includes("/columns") ? { revision: 5, ids: [], numbers: [], values: {}, params: {} }
    : address.includes("/curves") ? { items: [{ trial: 0, thinned: address.includes("points"), reports: [{ step: 0, values: { loss: 1 } }] }] } : { id: 1, spec: {} };
window.streams = true;
window.feed = new m.StudyFeed("1");
"""


def test_curves_are_asked_for_again_after_a_gap(stage: Stage) -> None:
    stage.run(FEED, "feed.js")
    stage.pass_(500)
    assert stage.see("feed.wantCurves([0]).then(() => feed.wantCurves([0])).then(() => count('/curves'))") == 1
    stage.see("send('change', { more: true, study: { id: 1, spec: {} }, trials: [], reports: [], revision: 9 })")
    stage.pass_(500)
    assert stage.see("feed.wantCurves([0]).then(() => count('/curves'))") == 2


def test_of_a_curve_that_is_looked_at_all_reports_are_asked_for(stage: Stage) -> None:
    stage.run(FEED, "feed.js")
    stage.pass_(500)
    assert stage.see("feed.wantCurves([0]).then(() => feed.curves.isThinned(0))") is True
    assert stage.see("feed.wantCurves([0], { whole: true }).then(() => feed.curves.isThinned(0))") is False
    assert stage.see("feed.wantCurves([0], { whole: true }).then(() => feed.wantCurves([0])).then(() => count('/curves'))") == 2
    assert stage.see("asked.filter((address) => address.includes('/curves'))") == [
        "/v1/studies/1/curves?numbers=0&points=400", "/v1/studies/1/curves?numbers=0",
    ]  # fmt: skip


def test_columns_come_while_trials_change_all_the_time(stage: Stage) -> None:
    stage.run(
        """window.answers = () => new Promise((done) => setTimeout(() => done({ numbers: [0], columns: { value: ["node-1"] } }), 600));
        window.Cells = ({ version }) => ((window.shown = m.useCells({ path: "/v1/studies/1" }, ["fact:worker"], version)), null);
        window.draw = (version) => show(Cells, { version });""",
        "cells.js",
    )
    for version in range(48):
        stage.see(f"draw({version})")
        stage.pass_(250)
    assert stage.see("shown.cells['fact:worker']") == ["node-1"]
    assert stage.see("asked.length") == 3, "at once, and each five seconds"


def test_a_family_is_not_asked_for_with_each_trial(stage: Stage) -> None:
    stage.run(
        """window.answers = (address) => ({ numbers: [4], columns: { value: [address.includes("parent") ? 1 : "population"] } });
        const objectives = [{ name: "loss", direction: "minimize" }];
        window.draw = (length) => {
            const trials = Object.assign(new m.Trials(), { length });
            const study = { id: 1, spec: { pruner: { name: "population" } } };
            show(m.Lineage, { trial: { number: 4, parent: 1 }, feed: { path: "/v1/studies/1", study, objectives, trials } });
        };""",
        "lineage.js",
        "trials.js",
    )
    for length in range(48):
        stage.see(f"draw({length})")
        stage.pass_(250)
    assert "Line of descent" in stage.see("root.textContent")
    assert stage.see("asked.length") == 6, "two columns at once, and each five seconds"


def test_points_are_put_into_words_when_they_are_read(stage: Stage) -> None:
    stage.run(
        """window.made = 0;
        window.described = 0;
        const points = Array.from({ length: 1000 }, (_, i) => [i, i, i]);
        const describe = ([x]) => ((window.described += 1), `Trial ${x}`);
        const rows = () => ((window.made += 1), [m.pointRow(points, describe, () => null)]);
        show(m.CursorFrame, { label: "History.", rows, locate: () => null });""",
        "chart_cursor.js",
    )
    stage.page.locator(".chart-frame").focus()
    for key in ("ArrowRight", "End", "ArrowLeft"):
        stage.page.keyboard.press(key)
        stage.pass_(250)
    assert stage.see("root.querySelector('output').textContent") == "Trial 998."
    assert stage.see("[made, described]") == [1, 3]


def test_levels_that_look_the_same_are_named_by_all_their_digits(stage: Stage) -> None:
    stage.run(
        """const best_after = { k: [1, 2], expected: [0.5, 0.4], low: [0.4, 0.3], high: [0.6, 0.5], seconds: [1, 2], gpu_seconds: [0, 0] };
        const levels = [1234567, 1234568].map((level) => ({ level, best_after, trials: { counted: 2 } }));
        show(m.BestAfter, { comparison: { by: "seed", metric: "loss", levels } });""",
        "charts/best_after.js",
    )
    stage.page.locator(".chart-frame").focus()
    for key, name in (("ArrowRight", "1234567"), ("ArrowDown", "1234568")):
        stage.page.keyboard.press(key)
        stage.pass_(250)
        assert stage.see("root.querySelector('output').textContent").startswith(f"{name}, after 1 trial: 0.5")


def test_text_is_read_once(stage: Stage) -> None:
    stage.run(
        """window.reads = 0;
        const text = { replaceAll: () => ((window.reads += 1), "# a") };
        for (let i = 0; i < 3; i += 1) show(m.Markdown, { text });""",
        "markdown.js",
    )
    assert stage.see("[root.textContent, reads]") == ["a", 1]


def test_contours_are_of_the_trials_shown(visitor: Visitor) -> None:
    """Two selections with as many trials and the same best one."""
    stage = Stage(visitor, "?plane=contours")
    stage.run(
        """const trials = new m.Trials();
        const numbers = Array.from({ length: 61 }, (_, i) => i);
        const pick = (wanted) => Object.assign(Object.create(trials), { numbers: () => numbers.filter(wanted).values() });
        trials.mergeColumns({
            numbers, ids: numbers, state: numbers.map(() => "COMPLETE"), reason: [], feasible: [], started_at: [], finished_at: [],
            values: { loss: numbers.map((i) => (i <= 30 ? i : 100 * i)) }, params: { x: numbers.map((i) => ((i * 7) % 30) / 30), y: numbers.map((i) => ((i * 11) % 30) / 30) },
        });
        const objective = { name: "loss", direction: "minimize" };
        const draw = (wanted) => show(m.Plane, { study: { id: 1 }, objective, feed: { trials: pick(wanted), study: { spec: {} }, objectives: [objective] } });
        window.draws = [() => draw((i) => i <= 30), () => draw((i) => i === 0 || i > 30)];
        draws[0]();""",
        "charts/plane.js",
        "trials.js",
    )
    captions = []
    for turn in (0, 1):
        stage.see(f"draws[{turn}]()")
        stage.page.wait_for_function("root.querySelector('figcaption').textContent.includes('trials near them:')")
        captions.append(stage.see("root.querySelector('figcaption').textContent"))
    assert captions[0] != captions[1], captions


def test_what_was_just_typed_does_not_reach_the_next_view(stage: Stage) -> None:
    stage.run(
        """window.done = [];
        const Field = () => ((window.delayed = m.useDelayed((text) => done.push(text), 200)), null);
        show(Field);""",
        "controls.js",
    )
    stage.see("delayed.soon('a'); delayed.soon('ab')")
    stage.pass_(250)
    assert stage.see("done") == ["ab"]
    stage.see("delayed.soon('abc'); delayed.cancel()")
    stage.pass_(250)
    stage.see("delayed.soon('abcd')")
    stage.run("preact.render(null, root)")
    stage.pass_(250)
    assert stage.see("done") == ["ab"]


def test_ages_beside_each_other_agree(stage: Stage) -> None:
    """Of two things that happened at one time, one shown later than the other."""
    stage.run(
        """const at = Date.now() - 60_000 + 12_000;
        const Rows = ({ count }) => preact.html`${Array.from({ length: count }, (_, i) => preact.html`<p key=${i}><${m.Ago} at=${at} /></p>`)}`;
        window.rows = (count) => show(Rows, { count });
        rows(1);""",
        "controls.js",
    )
    seen = set()
    for count in (1, 2, 3, 3, 3):
        stage.see(f"rows({count})")
        stage.pass_(1700)
        ages = stage.see("[...root.querySelectorAll('time')].map((age) => age.textContent)")
        assert len(set(ages)) == 1, ages
        seen.add(ages[0])
    assert len(seen) > 1


ASKED = """
window.failing = 0;
window.made = 0;
window.answers = () => (failing-- > 0 ? 503 : { made: (made += 1) });
window.Asked = (props) => {
    window.connection = m.useConnection();
    window.shown = m.useAsked(({ signal }) => m.get(`/asked/${props.question}`, { signal }), { ...props, tells: true });
    return null;
};
window.draw = (props) => show(Asked, { question: "a", interval: 10_000, ...props });
"""
ASKING = ("asking.js", "api.js", "connection.js")


def test_what_was_asked_in_vain_is_asked_again_and_then_now_and_then(stage: Stage) -> None:
    stage.run(f"{ASKED} failing = 1000; draw()", *ASKING)
    stage.pass_(500)
    assert stage.see("[shown.answer, shown.error.status, connection.state]") == [None, 503, "reconnecting"]
    stage.see("failing = 0")
    stage.pass_(2_000)
    assert stage.see("[shown.answer.made, shown.error, connection.state]") == [1, None, "live"]
    stage.pass_(10_000)
    assert stage.see("shown.answer.made") == 2
    stage.see("failing = 1000")
    stage.pass_(10_000)
    assert stage.see("[shown.answer.made, shown.error.status, connection.state]") == [2, 503, "reconnecting"]
    stage.see("failing = 0")
    stage.pass_(2_000)
    assert stage.see("[shown.answer.made, shown.error, connection.state]") == [3, None, "live"]
    stage.run("preact.render(null, root)")
    stage.see("asked.length = 0")
    stage.pass_(20_000)
    assert stage.see("asked") == [], "whoever has left asks nothing"


def test_the_answer_to_another_question_does_not_stand_in(stage: Stage) -> None:
    stage.run(f"{ASKED} draw()", *ASKING)
    stage.pass_(500)
    stage.see("answers = () => new Promise((answer) => (window.answer = answer)); draw({ question: 'b' })")
    stage.pass_(500)
    assert stage.see("[shown.answer.made, shown.question]") == [1, "a"], "until it is known"
    stage.see("answer(503)")
    stage.pass_(500)
    assert stage.see("[shown.answer, shown.error.status, shown.question]") == [None, 503, "b"]
    stage.pass_(2_000)
    stage.see("answer({ made: 2 })")
    stage.pass_(250)
    assert stage.see("[shown.answer.made, shown.error]") == [2, None]


def test_a_page_that_is_held_asks_nothing_and_catches_up(stage: Stage) -> None:
    stage.run(f"{ASKED} window.hold = m.hold; draw()", *ASKING)
    stage.pass_(500)
    stage.see("hold(true)")
    stage.pass_(30_000)
    assert stage.see("[shown.answer.made, connection.state, connection.held]") == [1, "paused", True]
    stage.see("hold(false)")
    stage.pass_(500)
    assert stage.see("[shown.answer.made, connection.state, connection.held]") == [2, "live", False]


def test_the_page_is_as_live_as_the_worst_of_what_is_looked_at(stage: Stage) -> None:
    stage.run(
        """window.Seen = () => ((window.connection = m.useConnection()), null);
        window.sources = [new m.Source(), new m.Source()];
        show(Seen);""",
        "connection.js",
    )
    seen = []
    for step in ("", "sources[0].open()", "sources[0].set('live')", "sources[1].open(); sources[1].set('reconnecting')",
                 "sources[1].set('live')", "sources[1].set('reconnecting'); sources[1].close()", "sources[0].close()"):  # fmt: skip
        stage.see(step or "0")
        stage.pass_(250)
        seen.append(stage.see("connection.state"))
    assert seen == ["none", "connecting", "live", "reconnecting", "live", "live", "none"]


@pytest.mark.parametrize(("query", "state"), [("wanted", ""), ("", "PAUSED")])
def test_a_search_is_not_repeated_with_each_change_of_what_it_does_not_find(stage: Stage, query: str, state: str) -> None:
    stage.run(
        f"""{STUDIES} streams = true;
        window.other = {{ id: 9, name: "other", tags: [], state: "RUNNING", archived: false }};
        studies = [{{ id: 3, name: "wanted", tags: [], state: "PAUSED", archived: false }}];
        window.Found = () => ((window.shown = m.useStudies("{query}", "{state}", false)), null);
        show(Found);""",
        "study_list.js",
    )
    stage.pass_(500)
    stage.see("send('study', other)")
    stage.pass_(500)
    stage.see("asked.length = 0")
    for revision in range(20):
        stage.see(
            f"send('study', {{ ...other, revision: {revision} }}), send('study', {{ ...studies[0], revision: {revision} }})"
        )
        stage.pass_(500)
    assert stage.see("[count('/v1/studies'), shown.items[0].revision]") == [0, 19]
    stage.see("studies.unshift({ ...other, name: 'wanted too', state: 'PAUSED' }); send('study', studies[0])")
    stage.pass_(500)
    assert stage.see(f"[count('/v1/studies'), {NAMES}.join()]") == [1, "wanted too,wanted"]
    stage.see("studies.shift(); send('study', other)")
    stage.pass_(500)
    assert stage.see(NAMES) == ["wanted"]


LOG = """
window.lines = Array.from({ length: 5000 }, (_, id) => ({ id, stream: "stdout", text: `line ${id}.`, created_at: "2026-01-01" }));
window.failing = 0;
window.answers = (address) => {
    if (failing-- > 0) return 503;
    const query = new URLSearchParams(address.split("?")[1]);
    const after = Number(query.get("cursor") ?? -1);
    const items = query.has("tail") ? lines.slice(-query.get("tail")) : lines.slice(after + 1, after + 1 + Number(query.get("limit")));
    return { items, next_cursor: items.length ? String(items.at(-1).id) : query.get("cursor") };
};
window.draw = (running) => show(m.Logs, { trialId: 7, running });
window.ends = () => [root.querySelector(".log").firstElementChild.textContent, root.querySelector(".log").lastElementChild.textContent];
"""


def test_a_log_is_read_from_its_end(stage: Stage) -> None:
    stage.run(f"{LOG} draw(true)", "logs.js")
    stage.pass_(500)
    assert stage.see("[asked.length, ...ends()]") == [1, "line 3000.", "line 4999."]
    stage.see("lines.push({ ...lines[0], id: 5000, text: 'line 5000.' })")
    stage.pass_(2_000)
    assert stage.see("[asked.length, ...ends()]") == [2, "line 3001.", "line 5000."]


def test_the_log_of_a_trial_that_has_ended_is_asked_for_until_it_comes(stage: Stage) -> None:
    stage.run(f"{LOG} failing = 1; draw(false)", "logs.js")
    stage.pass_(500)
    assert "No output" not in stage.see("root.textContent")
    stage.pass_(2_000)
    assert stage.see("ends()[1]") == "line 4999."
    stage.pass_(10_000)
    assert stage.see("asked.length") == 2


def test_metrics_that_come_later_can_be_chosen(stage: Stage) -> None:
    stage.run(
        """window.metrics = ["loss"];
        window.answers = () => ({ metrics, attributes: [], facts: [] });
        window.Groups = ({ running }) => ((window.shown = m.useCellGroups({ path: "/v1/studies/1", study: { counts: { running } } })), null);
        window.draw = (running) => show(Groups, { running });
        draw(1);""",
        "cells.js",
    )
    stage.pass_(500)
    assert stage.see("shown[0][1]") == ["metric:loss:last", "metric:loss:min", "metric:loss:max"]
    stage.see("metrics.push('lr')")
    stage.pass_(15_000)
    assert stage.see("shown[0][1].length") == 6
    stage.see("metrics.push('grad'); draw(0)")
    stage.pass_(500)
    assert stage.see("shown[0][1].length") == 9


def test_what_changes_by_itself_is_announced_now_and_then(stage: Stage) -> None:
    stage.run("window.draw = (text) => show(m.Announced, { text }); draw('0 trials')", "announced.js")
    heard = []
    for turn in range(1, 200):
        stage.see(f"draw('{turn} trials')")
        stage.pass_(250)
        if (text := stage.see("root.textContent")) not in heard:
            heard.append(text)
    assert len(heard) == 2, heard
    stage.page.keyboard.press("a")
    stage.see("draw('1 trial')")
    stage.pass_(250)
    assert stage.see("root.textContent") == "1 trial", "who has just acted is told at once"
    stage.pass_(2_000)
    stage.see("draw('2 trials')")
    stage.pass_(25_000)
    assert stage.see("root.textContent") == "1 trial"
    stage.pass_(5_000)
    assert stage.see("root.textContent") == "2 trials", "the last of all is told too"
