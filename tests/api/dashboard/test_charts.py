"""Pure functions behind the charts, called in the browser that runs them: what is dragged over, names of choices, axes, files."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_choices_look_different(call: Any) -> None:
    cases = {
        "['adam', 'sgd', 0.5, null, true]": ["adam", "sgd", "0.5", "null", "true"],
        "[1234567, 1234568, 64]": ["1234567", "1234568", "64"],
        "[0.123456789, 0.1234, 0.12341, 0.5]": ["0.1235", "0.1234", "0.12341", "0.5"],
        "[1, '1', 'x', null, 'null', undefined, 'absent']": ["1", '"1"', "x", "null", '"null"', "absent", '"absent"'],
        "[0.123456, 0.123457, '0.123456']": ["0.123456", "0.123457", '"0.123456"'],
    }
    for values, texts in cases.items():
        assert call("format.js", f"m.formatChoices({values})") == texts


@pytest.mark.parametrize(
    "text, name, axis, stretch, wanted",
    [
        ("", "x", {"min": 0, "max": 1}, [0.25, 0.5], "x>=0.25 x<=0.5"),
        ("x<=0.1", "x", {"min": 0, "max": 1}, [0.25, 1], "x>=0.25"),
        ("state:complete lr>=1 lr<=2", "lr", {}, [1e-5, 0.123456789], "state:complete lr>=0.00001 lr<=0.1235"),
        ("", "n", {}, [1234561, 1234564], "n>=1234561 n<=1234564"),
        ("", "x", {}, [-0.123456789, -0.100049], "x>=-0.1235 x<=-0.1"),
        ("", "x", {}, [-3.00049e-9, 2e25], "x>=-3.001e-9 x<=2e+25"),
        ("", "x", {}, [0, 0.29], "x>=0 x<=0.29"),
        ("", "x", {}, [1e-320, 1.7976931348623157e308], "x>=1e-320 x<=1.7976931348623157e+308"),
        ("n>=1", "n", {"whole": True, "min": 1, "max": 40}, [1.6, 6.3], "n>=2 n<=6"),
        ("", "n", {"whole": True}, [2.3, 2.6], ""),
        ("layers=3", "layers", {"choices": [1, 2, 3, 4, 5, 6, 7, 8], "whole": True}, [1.2, 4.9], "layers=3 layers>=2 layers<=6"),
        ("state:complete", "k", {"choices": ["a", "b c", "d"]}, [0.6, 2], 'state:complete k="b c",d'),
        (r'a="x \" y" b=1', "b", {"choices": [False, True]}, [1, 1], r'a="x \" y" b=true'),
        ("", "k", {"choices": ['say "hi"', None, "*", ""]}, [0, 3], r'k="say \"hi\"",null,"*",""'),
        ("", "seed", {"choices": [1234567, 0.123456789, 1e21]}, [0, 2], "seed=1234567,0.123456789,1e+21"),
        ("k=a", "k", {"choices": ["a", "b"]}, [3, 4], "k=a"),
        ('"val loss">=2 "val loss"<=3 x=1', '"val loss"', {}, [0.5, 1], 'x=1 "val loss">=0.5 "val loss"<=1'),
    ],
)
def test_what_is_dragged_over_is_a_filter(
    call: Any, text: str, name: str, axis: dict[str, Any], stretch: list[float], wanted: str
) -> None:
    found = call("selection.js", f"m.selected({json.dumps(text)}, {json.dumps(name)}, {json.dumps(axis)}, {json.dumps(stretch)})")
    assert found == wanted


def test_bounds_are_readable_and_leave_nothing_out(call: Any) -> None:
    script = """(() => {
        const [bounds, wrong] = [/^x>=(\\S+) x<=(\\S+)$/, []];
        for (let i = 1; i < 4000; i += 1) {
            const [a, b] = [Math.sin(i) * 10 ** ((i % 31) - 15), Math.cos(i) * 10 ** ((i % 17) - 8)];
            const [low, high] = a < b ? [a, b] : [b, a];
            const text = m.selected("", "x", {}, [low, high]);
            const [from, to] = bounds.exec(text).slice(1).map(Number);
            const width = high - low;
            if (!(from <= low && to >= high && low - from <= 0.01 * width && to - high <= 0.01 * width)) wrong.push([low, high, text]);
        }
        return wrong;
    })()"""
    assert call("selection.js", script) == []


def test_names_are_written_as_the_filter_language_reads_them(call: Any) -> None:
    feed = "{ objectives: [{ name: 'loss' }] }"
    names = "[['lr', 'params'], ['val loss', 'values'], ['a<b', 'params'], ['say \"hi\"', 'params'], ['number', 'params'], ['loss', 'params'], ['loss', 'values'], ['values.x', 'params']]"
    assert call("selection.js", f"{names}.map(([name, kind]) => m.termName(name, kind, {feed}))") == [
        "lr", '"val loss"', '"a<b"', r'"say \"hi\""', "params.number", "params.loss", "loss", "params.values.x",
    ]  # fmt: skip


def test_few_places_of_a_logarithmic_axis_have_a_cell_each(call: Any) -> None:
    places = "[0.001, 0.01, 0.1].flatMap((place) => [place, place, place])"
    edges = call("charts/plane.js", f"m.edges({{ categorical: false, log: true }}, {places})")
    assert edges == pytest.approx([10**-3.5, 10**-2.5, 10**-1.5, 10**-0.5])


def test_axes_keep_choices_apart_that_look_the_same(call: Any) -> None:
    feed = """{ study: { spec: { space: { seed: { type: "categorical", choices: [1234567, 1234568] } } } },
        trials: { params: { seed: [1234567] }, column: () => ({ numeric: true, whole: true, low: 1234567, high: 1234567 }), numbers: () => [0] } }"""
    assert call(
        "charts/parallel_axes.js", f"m.parameterAxis({feed}, 'seed', {{ flipped: new Set(), rescaled: new Set() }}).data"
    ) == [
        "1234567",
        "1234568",
    ]
    label = f"{{ const dim = m.dimension({feed}, 'seed'); return [0, 1].map(m.dimensionAxis({{}}, dim).axisLabel.formatter); }}"
    assert call("axes.js", label) == ["1234567", "1234568"]


def test_many_lines_are_sampled(call: Any) -> None:
    assert len(call("charts/parallel.js", "m.sample(Array.from({ length: 20000 }, (_, i) => i))")) == 1000


def test_charts_become_files(call: Any) -> None:
    data = """{ columns: ["Trial", "=name"], rows: [[1, "=1+1"], [2, 'a "b", c'], [3, "-2.5"], [4, undefined], [5, "\\n=1"], [6, "-Infinity"]] }"""
    expected = 'Trial,\'=name\r\n1,\'=1+1\r\n2,"a ""b"", c"\r\n3,-2.5\r\n4,\r\n5,"\'\n=1"\r\n6,-Infinity\r\n'
    assert call("chart_export.js", f"m.toCsv({data})") == expected
    exact = "[[12345.678, 0.1 + 0.2, -1.5e-12, 1e21, -0.25, NaN, Infinity, -Infinity, null, true]]"
    assert call("chart_export.js", f"m.toCsv({{ columns: [], rows: {exact} }})") == (
        "\r\n12345.678,0.30000000000000004,-1.5e-12,1e+21,-0.25,NaN,Infinity,-Infinity,null,true\r\n"
    )
    assert call("chart_export.js", "[m.fileName('Two parameters', 'png'), m.fileName('../ß?', 'csv'), m.fileName('//', 'svg')]") == [
        "two-parameters.png", "ß.csv", "chart.svg",
    ]  # fmt: skip
