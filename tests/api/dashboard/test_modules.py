"""Pure functions of the dashboard's modules, called in the browser that runs them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.dashboard import pages
from tuner.spec_file import read_spec_text

pytestmark = pytest.mark.browser


def test_numbers(call: Any) -> None:
    cases = "[0, 1234567, 123456, 0.93456789, 12.3456, 1.23456e-5, -0.00002, 1e-3, NaN, Infinity, -Infinity, null, undefined, 'x', 1e21]"
    assert call("format.js", f"{cases}.map((value) => m.formatNumber(value))") == [
        "0", "1.235e6", "123,456", "0.9346", "12.35", "1.235e-5", "-2e-5", "0.001", "NaN", "∞", "−∞", "–", "–", "x", "1e21",
    ]  # fmt: skip
    assert call("format.js", "['NaN', 'Infinity', '-Infinity', 'else', 2, null].map((v) => String(m.decodeNumber(v)))") == [
        "NaN", "Infinity", "-Infinity", "NaN", "2", "null",
    ]  # fmt: skip


def test_durations_and_sizes(call: Any) -> None:
    assert call("format.js", "[0.0034, 4.21, 42, 192, 3600, 7380, 90000, NaN, null].map((value) => m.formatDuration(value))") == [
        "3ms", "4.2s", "42s", "3m 12s", "1h 0m", "2h 3m", "1d 1h", "–", "–",
    ]  # fmt: skip
    assert call("format.js", "[0, 999, 1500, 25_000_000, 3e12].map((value) => m.formatBytes(value))") == [
        "0 B", "999 B", "1.5 KB", "25 MB", "3.0 TB",
    ]  # fmt: skip


def test_events_are_cut_anywhere(call: Any) -> None:
    text = ': alive\n\nretry: 1000\n\nid: 7\nevent: change\ndata: {"a":\ndata: 1}\n\nid: 8\r\ndata: x: y\r\n\r\nid: 9\ndata: unfinished'
    script = f"""(() => {{
        const text = {json.dumps(text)};
        const whole = new m.EventParser().push(text);
        const parser = new m.EventParser();
        const pieces = [...text].flatMap((letter) => parser.push(letter));
        return [whole, pieces];
    }})()"""
    whole, pieces = call("stream.js", script)
    expected = [{"id": "7", "event": "change", "data": '{"a":\n1}'}, {"id": "8", "event": "message", "data": "x: y"}]
    assert whole == pieces == expected


COLUMNS = {
    "revision": 5,
    "total": 5,
    "ids": [10, 11, 12, 13],
    "numbers": [0, 1, 2, 4],
    "state": ["COMPLETE", "COMPLETE", "FAIL", "RUNNING"],
    "reason": [None, None, "nan", None],
    "feasible": [None, None, None, None],
    "started_at": [1.0, 2.0, 3.0, 4.0],
    "finished_at": [2.0, 4.5, 3.5, None],
    "values": {"loss": [0.5, "Infinity", None, None]},
    "params": {"lr": [0.1, 0.01, 0.5, 0.2], "momentum": [None, 0.9, None, None]},
    "nulls": {},
}


def test_a_choice_null_is_not_absent(call: Any) -> None:
    columns = COLUMNS | {"params": {"warm": [None, True, None, None]}, "nulls": {"warm": [2, 4]}}
    told = "{ number: 5, id: 14, state: 'WAITING', values: null, params: { warm: null } }"
    script = f"""(() => {{
        const trials = new m.Trials();
        trials.mergeColumns({json.dumps(columns)});
        trials.mergeTrial({told});
        return [[0, 1, 2, 4, 5].map((number) => String(trials.params.warm[number])), trials.order({{ key: "param:warm" }})];
    }})()"""
    assert call("trials.js", script) == [["undefined", "true", "null", "null", "null"], [1, 0, 2, 4, 5]]
    kept = "{ paramNames: () => ['warm', 'x'], params: { warm: [null], x: [undefined] } }"
    assert call("bulk.js", f"m.asText({kept}, [0], 'json')") == '{\n  "warm": null\n}\n'


def test_trials_merge_and_sort(call: Any) -> None:
    script = f"""(() => {{
        const trials = new m.Trials();
        const columns = {json.dumps(COLUMNS)};
        trials.mergeColumns(columns);
        trials.mergeColumns(columns);
        const before = [trials.length, trials.counts(), trials.order({{ key: "value:loss" }}), trials.order({{ key: "param:momentum", descending: true }}),
            trials.order({{ states: ["FAIL", "RUNNING"], descending: true }}), trials.ranked({{ name: "loss", direction: "minimize" }}), trials.duration(1)];
        trials.mergeTrial({{ number: 4, id: 13, state: "COMPLETE", reason: null, started_at: "1970-01-01T00:00:04Z", finished_at: "1970-01-01T00:00:06Z",
            values: {{ loss: 0.25 }}, params: {{ lr: 0.2 }} }});
        return [...before, trials.ranked({{ name: "loss", direction: "minimize" }}), trials.duration(4)];
    }})()"""
    length, counts, by_loss, by_momentum, chosen, ranked, duration, ranked_after, duration_after = call("trials.js", script)
    assert length == 5
    assert counts == {"RUNNING": 1, "WAITING": 0, "COMPLETE": 2, "PRUNED": 0, "FAIL": 1}
    assert by_loss == [0, 1, 2, 4]
    assert by_momentum == [1, 0, 2, 4]
    assert chosen == [4, 2]
    assert ranked == [0, 1]  # an infinite value counts
    assert duration == 2.5
    assert ranked_after == [4, 0, 1]
    assert duration_after == 2.0


def test_infeasible_trials_are_not_ranked(call: Any) -> None:
    script = f"""(() => {{
        const trials = new m.Trials();
        trials.mergeColumns({json.dumps(COLUMNS | {"feasible": [False, True, None, None]})});
        const before = trials.ranked({{ name: "loss", direction: "minimize" }});
        trials.mergeTrial({{ number: 0, id: 10, state: "COMPLETE", feasible: true, values: {{ loss: 0.5 }}, params: {{}} }});
        return [before, trials.ranked({{ name: "loss", direction: "minimize" }}), trials.drawable({{ name: "loss", direction: "minimize" }})];
    }})()"""
    assert call("trials.js", script) == [[1], [0, 1], [0]]


def test_curves_replace_repeated_steps(call: Any) -> None:
    script = """(() => {
        const curves = new m.Curves();
        curves.merge([{ trial: 3, reports: [{ step: 1, values: { loss: 2 } }, { step: 0, values: { loss: 3, lr: 1 } }] }]);
        curves.merge([{ trial: 3, reports: [{ step: 1, values: { loss: "NaN" } }, { step: 2, values: { loss: 1 } }] }]);
        return [curves.points(3, "loss").map(String), curves.metrics(), curves.points(4, "loss"), curves.last(3, "lr")];
    })()"""
    assert call("trials.js", script) == [["0,3", "1,NaN", "2,1"], ["loss", "lr"], [], [0, 1]]


def test_fronts_and_the_line_of_the_best(call: Any) -> None:
    points = "[[1, 5, 0], [2, 3, 1], [3, 4, 2], [4, 1, 3], [2, 3, 4]]"
    down = '{ direction: "minimize" }'
    up = '{ direction: "maximize" }'
    assert call("charts/pareto.js", f"m.front({points}, {down}, {down}).map((point) => point[2])") == [0, 1, 4, 3]
    assert call("charts/pareto.js", f"m.front({points}, {up}, {up}).map((point) => point[2])") == [3, 2, 0]
    points = "[[1, 5, 3, 0], [2, 3, 3, 1], [3, 4, 9, 2], [4, 1, 3, 3], [2, 3, 3, 4], [2, 9, 2, 5], [1, 5, 4, 6]]"
    assert call("charts/pareto.js", f"m.paretoFront({points}, [{down}, {down}, {down}]).map((p) => p[3])") == [0, 1, 4, 5, 3]
    assert call("charts/pareto.js", f"m.paretoFront({points}, [{up}, {down}, {up}]).map((p) => p[3])") == [3, 2]
    assert call("charts/history.js", "m.bestSoFar([[0, 1, 0], [1, 3, 1], [2, 2, 2]], true)") == [[0, 1, 0], [1, 3, 1], [2, 3, 1]]
    assert call("charts/history.js", "m.drawn([[0, -Infinity, 0], [1, 3, 1], [4, 5, 4], [6, Infinity, 6], [9, Infinity, 6]], {})") == [
        [1, 3, 1], [4, 5, 4], [6, 5, 4],
    ]  # fmt: skip
    assert call("charts/history.js", "m.drawn([[0, 9, 0], [1, 3, 1], [5, 3, 1]], { max: 5 })") == [[1, 3, 1], [5, 3, 1]]


def test_values_far_from_all_others_are_outside_the_typical_range(call: Any) -> None:
    values = "Array.from({ length: 30 }, (_, i) => i)"
    ranges = call(
        "charts/typical.js",
        f"""[[{values}, false], [[...{values}, 1e9], false], [[...{values}, -1e300], false], [[...{values}, -1e300, 1e300], true],
            [[...{values}, ...{values}.map((i) => 1e6 + i)], false], [[...{values}.slice(0, 8), 1e9], false], [{values}.map(() => 1), false],
            [[...{values}.map(() => 1), 2], true]].map(([values, maximize]) => m.typicalRange(values, maximize))""",
    )
    plain, worse, better, both, half_absurd, few, equal, nearly_equal = ranges
    assert plain == few == equal == nearly_equal == {}
    assert list(worse) == ["max"]
    assert 29 < worse["max"] < 60
    assert list(better) == ["min"]
    assert -30 < better["min"] < 0
    assert (both["min"] < 0, both["max"] > 29) == (True, True)
    assert 29 <= half_absurd["max"] < 100
    assert call("charts/typical.js", "m.describeOutside([-9, 1, 2, 8, 9], { min: 0, max: 5 }, false)") == (
        "2 far worse values and 1 far better value"
    )
    assert call("charts/typical.js", "m.describeOutside([-9, 1], { min: 0 }, true)") == "1 far worse value"
    assert call("charts/typical.js", "m.describeOutside([1, 2], {}, true)") == ""


def test_lines_of_descent_and_seeds(call: Any) -> None:
    parents = "Object.assign([], { 4: 1, 7: 4, 8: 4, 9: 7, 5: 2, 6: 2 })"
    known = f"m.family({parents}, {{ 5: 'repeat', 6: 'repeat', 4: 'population' }})"
    assert call("lineage.js", f"[9, 1, 6].map((number) => m.descent({known}, number))") == [[1, 4, 7, 9], [1], [6]]
    assert call("lineage.js", f"[4, 2, 9].map((number) => {known}.copies.get(number))") == [[7, 8], None, None]
    assert call("lineage.js", f"[2, 6, 9].map((number) => m.seeds({known}, number))") == [[2, 5, 6], [2, 5, 6], [9]]
    changes = "m.changes({ params: { lr: [0.1, 0.2], depth: [3, 3], momentum: [undefined, 0.5] } }, 0, 1)"
    assert call("lineage.js", changes) == [["lr", 0.1, 0.2], ["momentum", None, 0.5]]


def test_answers_of_the_form_become_a_spec(call: Any) -> None:
    answers = "{ ...m.INITIAL, kind: 'external', pruner: 'promotion', prunerOptions: { eta: '4', resume: 'false', brackets: '' }, repeat: '3', "
    answers += "outcomeConstraints: 'latency <= 50, size < 2' }"
    spec = call("spec_form.js", f"m.toSpec({answers}, null)")
    assert spec["pruner"] == {"name": "promotion", "eta": 4, "resume": False}
    assert spec["sampler"] == {"name": "auto"}
    assert spec["repeat"] == {"max": 3}
    assert spec["outcome_constraints"] == ["latency <= 50", "size < 2"]
    plain = call("spec_form.js", "m.toSpec({ ...m.INITIAL, kind: 'external' }, null)")
    assert not {"repeat", "outcome_constraints"} & set(plain)


def test_login_leads_only_into_this_site(call: Any) -> None:
    searches = [
        "?next=/studies/3%3Ftab%3Dtrials",
        "",
        "?next=//evil.example",
        "?next=/%5Cevil.example",
        "?next=https://evil.example",
        "?next=javascript:alert(1)",
    ]
    expected = ["/studies/3?tab=trials", "/", "/", "/", "/", "/"]
    assert call("views/login.js", f"{json.dumps(searches)}.map((search) => m.destination(search))") == expected


def test_cells_keep_their_best(call: Any) -> None:
    linear = "{ categorical: false, log: false }"
    edges = call("charts/plane.js", f"m.edges({linear}, [0, 16])")
    assert edges == list(range(17))
    assert call("charts/plane.js", "m.edges({ categorical: true, choices: [1, 2] }, [])") == [-0.5, 0.5, 1.5]
    # Best first: trial 7 leads its cell of two, trial 9 has one of its own at the upper edge.
    points = "[[0.5, 0.5, 7], [0.6, 0.4, 8], [16, 16, 9]]"
    assert call("charts/plane.js", f"m.cells({points}, {edges}, {edges})") == [[0, 0, 1, 7, 2], [15, 15, 0, 9, 1]]


def test_distribution_counts_from_the_best(call: Any) -> None:
    assert call("charts/distribution.js", "m.distribution([3, 1, 2, 4], false)") == [[1, 0.25], [2, 0.5], [3, 0.75], [4, 1]]
    assert call("charts/distribution.js", "m.distribution([3, 1], true)") == [[3, 0.5], [1, 1]]
    many = call("charts/distribution.js", "m.distribution(Array.from({ length: 5000 }, (_, i) => i), false)")
    assert len(many) <= 401
    assert many[-1] == [4999, 1]


def test_yaml_is_what_a_study_file_looks_like(call: Any) -> None:
    data = {
        "name": "yes",
        "objectives": [{"name": "a", "direction": "maximize"}],
        "space": {"optimizer.lr": {"type": "float", "low": 1e-5, "high": 1, "when": {"b": ["x", "it's"]}}},
        "trial": {"trainer": {"dataset": {"name": "digits"}, "epochs": 20, "x": None, "deep": {"er": {"est": [1]}}}},
    }
    text = call("yaml.js", f"m.toYaml({json.dumps(data)})")
    assert read_spec_text(text) == data
    assert "  optimizer.lr:" in text


def test_attempts_are_packed_in_lanes(call: Any) -> None:
    attempts = [
        {"started_at": "1970-01-01T00:00:00Z", "ended_at": "1970-01-01T00:00:04Z"},
        {"started_at": "1970-01-01T00:00:02Z", "ended_at": None},
        {"started_at": "1970-01-01T00:00:04Z", "ended_at": "1970-01-01T00:00:06Z"},
    ]
    lanes = call("lanes.js", f"m.pack({json.dumps(attempts)}, 10000)")
    assert [[(item["from"], item["to"]) for item in lane] for lane in lanes] == [[(0, 4000), (4000, 6000)], [(2000, 10000)]]
    assert call("lanes.js", f"m.utilisation(m.pack({json.dumps(attempts)}, 10000), 2, 0, 10000)") == 0.7
    assert call("lanes.js", f"m.utilisation(m.pack({json.dumps(attempts)}, 10000), 2, 5000, 10000)") == 0.6


def test_thin_bars_are_merged(call: Any) -> None:
    items = "[[0, 1], [1.5, 2], [3.5, 4], [4, 20], [20, 20.5], [21, 22], [22, 23], [23, 24], [24, 25], [25, 26], [26, 27]]"
    script = (
        f"m.merged({items}.map(([from, to]) => ({{ from, to }})), 1).map(({{ items, from, to }}) => [items.length, from, to])"
    )
    assert call("lanes.js", script) == [[2, 0, 2], [1, 3.5, 4], [1, 4, 20], [5, 20, 25], [2, 25, 27]]


def test_silent_workers_matter_when_they_held_something(call: Any) -> None:
    seen = "seen_at: '2026-01-01T00:05:00Z'"
    attempts = "[['a', 'lost', 9], ['a', 'lost', 1], ['b', 'lost', 9], ['a', 'complete', 9]].map(([worker, reason, minute]) => "
    attempts += "({ worker, reason, ended_at: `2026-01-01T00:0${minute}:00Z` }))"
    say = "m.loss({ name: 'a', %s, running: %d }, %s, Date.parse('2026-01-01T00:10:00Z'))"
    assert call("fleet.js", say % (seen, 2, "[]")).startswith("a has been silent for 5m 0s and holds 2 trials")
    assert call("fleet.js", say % (seen, 0, attempts)).startswith("a has been silent for 5m 0s and lost 1 trial:")
    assert call("fleet.js", say % (seen, 0, "[]")) is None


def test_many_hot_workers_are_one_sentence(call: Any) -> None:
    script = "m.heat([%s].map((temperature, i) => ({ name: `n${i}`, usage: [{ gpus: [{ temperature }] }] })))"
    assert call("fleet.js", script % "40, 90.4, 85") == ["n1 is hot: 90 °C.", "n2 is hot: 85 °C."]
    many = "5 workers are hot: n4 95 °C, n0 91 °C, n1 91 °C and 2 more."
    assert call("fleet.js", script % "91, 91, 90, 86, 95") == [many]


def test_curves_are_smoothed_and_placed_in_time(call: Any) -> None:
    assert call("charts/curve_data.js", "m.smooth([[0, 1], [1, null], [2, 3]], 0.5)") == [
        [0, 1],
        [1, None],
        [2, pytest.approx(7 / 3)],
    ]
    assert call("charts/curve_data.js", "m.smooth([[0, 1], [1, 5]], 0)") == [[0, 1], [1, 5]]
    # Two attempts with a pause of 100 s between: two reports 10 s apart, then one whose own time is taken to be 10 s too.
    times = "[[0, { at: 15000, epoch: 1 }], [1, { at: 25000, epoch: 1 }], [2, { at: 125000, epoch: 2 }]]"
    assert call("charts/curve_data.js", f"[...m.seconds(new Map({times}), 5000, false)]") == [[0, 10], [1, 20], [2, 120]]
    assert call("charts/curve_data.js", f"[...m.seconds(new Map({times}), 5000, true)]") == [[0, 10], [1, 20], [2, 30]]


def test_rank_correlation(call: Any) -> None:
    assert call("charts/correlation.js", "m.ranks([3, 1, 3, 2])") == [2.5, 0, 2.5, 1]
    assert call("charts/correlation.js", "m.spearman([1, 2, 3, 4, 5], [1, 4, 9, 16, 25])") == pytest.approx(1)
    assert call("charts/correlation.js", "m.spearman([1, 2, 3, 4, 5, NaN], [5, 4, 3, 2, 1, 0])") == pytest.approx(-1)
    # scipy.stats.spearmanr([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]).statistic
    assert call("charts/correlation.js", "m.spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])") == pytest.approx(0.8)
    assert call("charts/correlation.js", "m.spearman([1, 2, 3, 4, 5], [7, 7, 7, 7, 7])") is None
    assert call("charts/correlation.js", "m.spearman([1, 2], [1, 2])") is None


def test_a_trial_is_found_in_every_kind_of_series(call: Any) -> None:
    series = """[
        { type: "scatter", data: [[0, 0.5, 7], [1, 0.25, 3]] }, { type: "line", name: "3", data: [[0, 1], [1, 2]] },
        { type: "parallel", data: [{ number: 3, value: [] }] }, { type: "custom", data: [[0, 0, 3]] },
        { type: "scatter", large: true, data: [[0, 0, 3]] }]"""
    assert call("chart_hover.js", f"m.places({series}, 3)") == [
        {"seriesIndex": 0, "dataIndex": 1}, {"seriesIndex": 1}, {"seriesIndex": 2, "dataIndex": 0},
    ]  # fmt: skip
    events = (
        "[{ data: [0, 1, 7] }, { data: [0, 1], seriesName: '12' }, { data: { number: 5 } }, { data: [0, 1], seriesName: 'adam' }]"
    )
    assert call("chart_hover.js", f"{events}.map(m.trialOf)") == [7, 12, 5, None]


def test_sorts_are_read_and_written(call: Any) -> None:
    assert call("views/trials.js", "m.writeSorts(m.readSorts('-value:loss|param:lr'))") == "-value:loss|param:lr"
    click = "m.writeSorts(m.sortedBy(m.readSorts('param:lr'), { key: '%s', descendingFirst: %s, add: %s }))"
    assert call("views/trials.js", click % ("number", "true", "false")) == "-number"
    assert call("views/trials.js", click % ("number", "true", "true")) == "param:lr|-number"
    assert call("views/trials.js", click % ("param:lr", "false", "true")) == "-param:lr"


def test_the_first_limit_ends_a_study(call: Any) -> None:
    state = "study: { state: 'RUNNING' }, finished: 10, speed: 0.5, elapsed: 100, usage: { gpu_seconds: 40, running_gpus: 2 }"
    for limits, left in [
        ("{ max_trials: 30 }", 40),
        ("{ max_trials: 30, timeout: 110 }", 10),
        ("{ max_gpu_seconds: 50 }", 5),
        ("{}", None),
    ]:
        assert call("strip.js", f"m.remaining({{ {state}, limits: {limits} }})") == left


def test_answers_of_the_form_become_parameters(call: Any) -> None:
    space = "{ k: { type: 'categorical', choices: ['1', 1, null] }, x: { type: 'float' } }"
    assert call("enqueue.js", f"""m.readParams({{ k: '"1"', x: '1e-3', y: 'text', z: '' }}, {space})""") == {
        "k": "1",
        "x": 0.001,
        "y": "text",
    }
    assert call("enqueue.js", f"m.readParams({{ k: 'null', x: 'oops' }}, {space})") == {"k": None, "x": "oops"}


def test_edits_of_a_space_in_words(call: Any) -> None:
    changes = "{ lr: { high: 1, low: 1e-5 }, opt: { append: ['lion', null] }, k: { freeze: 'a' }, x: { unfreeze: true } }"
    assert call("space_edits.js", f"m.describeEdit({changes})") == (
        "lr: high 1, low 1e-5; opt: append lion, null; k: freeze a; x: unfreeze"
    )


def test_configurations_are_copied(call: Any) -> None:
    script = """(() => {
        const trials = { paramNames: () => ["lr", "k"], params: { lr: [0.1, 1e-5], k: ["a", undefined] } };
        return [m.asText(trials, [0], "yaml"), m.asText(trials, [0, 1], "yaml"), JSON.parse(m.asText(trials, [1], "json"))];
    })()"""
    assert call("bulk.js", script) == ["lr: 0.1\nk: a\n", "trial_0: {lr: 0.1, k: a}\ntrial_1: {lr: 1e-5}\n", {"lr": 1e-5}]


def test_keys_lead_along_and_between_rows_of_points(call: Any) -> None:
    script = """(() => {
        const rows = [{ points: [0, 1, 2].map((x) => [x, 0]) }, { points: [1.9, 7].map((x) => [x, 1]) }];
        const walk = (keys) => keys.reduce((place, key) => m.step(rows, place, key), null);
        return [walk(["ArrowRight"]), walk(["End"]), walk(["Home", "ArrowRight", "ArrowRight", "ArrowRight"]), walk(["End", "ArrowDown"]),
            walk(["ArrowRight", "ArrowDown", "ArrowDown", "PageDown"]), m.step(rows, null, "a"), m.step([], null, "End"),
            m.step(rows, { row: 4, point: 9 }, "ArrowLeft"), walk(["End", "ArrowDown", "End", "ArrowUp"])];
    })()"""
    assert call("chart_cursor.js", script) == [
        {"row": 0, "point": 0}, {"row": 0, "point": 2}, {"row": 0, "point": 2}, {"row": 1, "point": 0},
        {"row": 1, "point": 1}, None, None, {"row": 1, "point": 0}, {"row": 0, "point": 2},
    ]  # fmt: skip


def test_points_without_neighbours_are_found(call: Any) -> None:
    assert call("charts/curve_data.js", "[...m.lonely([[0, 1], [1, null], [2, 3], [3, 4], [4, null], [5, 6]])]") == [0, 5]
    assert call("charts/curve_data.js", "[m.lonely([]).size, m.lonely([[3, 0]]).size]") == [0, 1]


def test_a_surface_is_near_its_points_and_claims_nothing_far_from_them(call: Any) -> None:
    script = """(() => {
        const points = Array.from({ length: 40 }, (_, i) => [((i * 7) % 40) / 80, ((i * 11) % 40) / 40]).map(([x, y]) => [x, y, x]);
        const found = m.surface(points, 20);
        const row = found.values.slice(10 * 20, 11 * 20);
        return [row.map((value) => (Number.isNaN(value) ? null : value)), m.levels(found, 4)];
    })()"""
    row, levels = call("charts/surface.js", script)
    assert row[19] is None  # no trial lies beyond the middle
    given = [value for value in row if value is not None]
    assert len(given) > 9
    assert all(abs(value - (at + 0.5) / 20) < 0.12 for at, value in enumerate(given[:10]))
    assert levels == sorted(set(levels))
    assert len(levels) == 4


def test_words_of_a_command_are_quoted(call: Any) -> None:
    names = "['plain-name/3', 'two words/0', \"it's\", 'a;b', '']"
    quoted = ["plain-name/3", "'two words/0'", "'it'\\''s'", "'a;b'", "''"]
    assert call("format.js", f"{names}.map(m.shellWord)") == quoted


def test_any_number_of_values_has_an_extent(call: Any) -> None:
    many = "Array.from({ length: 300000 }, (_, i) => (i * 7919) % 300000)"
    assert call("charts/plane.js", f"m.edges({{ categorical: false, log: false }}, {many}).at(-1)") == 299_999
    assert call("charts/curve_data.js", f"m.worstOfBest([1, 2], {many}, false)") == pytest.approx(2.15)


def test_markdown_is_read_in_time(call: Any) -> None:
    assert call("markdown.js", "m.inline('see [a b](https://x.example/y) and [c](no)')") == [
        "see ", {"kind": "link", "text": "a b", "href": "https://x.example/y"}, " and [c](no)",
    ]  # fmt: skip
    for text in ("'['.repeat(300000)", "'[a](http://x'.repeat(20000)", "'*a **b `c '.repeat(20000)"):
        took = call("markdown.js", f"{{ const start = performance.now(); m.inline({text}); return performance.now() - start; }}")
        assert took < 1_000, text


def test_points_and_metrics_follow_their_reports(call: Any) -> None:
    script = """(() => {
        const curves = new m.Curves();
        const merge = (trial, step, values, rest) => curves.merge([{ trial, reports: [{ step, values }], ...rest }]);
        const look = () => [curves.points(3, "loss").length, curves.metrics().join()];
        merge(3, 0, { loss: 1 });
        const seen = [look()];
        merge(3, 1, { loss: 2, lr: 1 });
        merge(4, 0, { error: 1 });
        seen.push(look());
        curves.keep([3]);
        seen.push(look());
        curves.keep([]);
        return [...seen, look()];
    })()"""
    assert call("trials.js", script) == [[1, "loss"], [2, "error,loss,lr"], [2, "loss,lr"], [0, ""]]


def test_an_attempt_looks_the_same_everywhere(call: Any) -> None:
    reasons = (
        "['preempted', 'paused', 'lost', 'complete', null].map((reason) => m.attemptTone({ reason, ended_at: '2026-01-01' }))"
    )
    assert call("states.js", reasons) == ["waiting", "pruned", "failed", "complete", "complete"]
    assert call("states.js", "m.attemptTone({ reason: null, ended_at: null })") == "running"
    for name in ("attempts.js", "lanes.js"):
        source = (pages.FOLDER / name).read_text()
        assert "attemptTone" in source
        assert "preempted" not in source, "colours of attempts stand in states.js"
