// Learning curves: the best trials in colours, the running ones live, some others in grey for comparison; where a pruned one ended is marked.

import { html, useEffect } from "../vendor/htm-preact.js";
import { axis, Chart, dash, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { RANGES, SCALES, Setting, Settings } from "../chart_settings.js";
import { Select } from "../controls.js";
import { formatDuration, formatNumber } from "../format.js";
import { navigate, trialAddress, useQuery } from "../router.js";
import { choose, isHigherBetter, lonely, placed, smooth, worstOfBest } from "./curve_data.js";
import { viridis } from "./viridis.js";

const DIAMOND = "path://M5 0l5 5-5 5-5-5z"; // a path keeps its shape in a legend whose marks are wide
const NUM_LISTED = 8; // rows of the tooltip
const AXES = { step: "step", wall: "time since the start", busy: "time of training" };

export function lineSeries(name, data, colour, rest = {}) {
  const alone = lonely(data);
  return {
    name,
    type: "line",
    data,
    color: colour,
    showSymbol: alone.size > 0,
    symbol: "circle",
    symbolSize: alone.size ? (_, { dataIndex }) => (alone.has(dataIndex) ? 5 : 0) : 5,
    lineStyle: { width: 1.5, color: colour },
    connectNulls: false,
    silent: false,
    triggerLineEvent: true,
    emphasis: { lineStyle: { width: 3.5, opacity: 1 } },
    ...rest,
  };
}

// What the address says about how the curves are drawn.
function useView(objective) {
  const [metric, setMetric] = useQuery("metric", objective.name);
  const [by, setBy] = useQuery("x", "step");
  const [top, setTop] = useQuery("top", "5");
  const [weight, setWeight] = useQuery("smooth", "0");
  const [scale, setScale] = useQuery("curve-y", "linear");
  const [scaleX, setScaleX] = useQuery("curve-x", "linear");
  const [range, setRange] = useQuery("curve-range", "typical");
  return { metric, setMetric, by: by in AXES ? by : "step", setBy, top, setTop, weight, setWeight, scale, setScale, scaleX, setScaleX, range, setRange };
}

function Controls({ view, metrics, shown, positive, clippable, gpus }) {
  const axes = [["step", "by step"], ["wall", "by time"], ["busy", gpus ? "by GPU time" : "by training time"]];
  return html`
    ${metrics.length > 1 && html`<${Select} label="Metric" value=${shown} onChange=${view.setMetric} options=${metrics.map((name) => [name, name])} />`}
    <${Select} label="Horizontal axis of the curves" value=${view.by} onChange=${view.setBy} options=${axes} />
    <${Settings}>
      <${Setting} label="In colour" value=${view.top} onChange=${view.setTop} options=${["1", "3", "5", "10", "20"].map((count) => [count, count === "1" ? "the best" : `the best ${count}`])} />
      <${Setting} label="Smoothing" value=${view.weight} onChange=${view.setWeight} options=${[["0", "none"], ["0.5", "light"], ["0.8", "medium"], ["0.95", "strong"]]} />
      ${positive && html`<${Setting} label="Value axis" value=${view.scale} onChange=${view.setScale} options=${SCALES} />`}
      <${Setting} label="Horizontal axis" value=${view.scaleX} onChange=${view.setScaleX} options=${SCALES} />
      ${clippable && html`<${Setting} label="Range" value=${view.range} onChange=${view.setRange} options=${RANGES} />`}
    <//>`;
}

export function LearningCurves({ feed, objective, study, version }) {
  const view = useView(objective);
  const { trials, curves } = feed;
  const { best, running, others } = choose(trials, objective);
  useEffect(() => {
    feed.wantCurves([...running, ...best, ...others]);
  }, [feed, version]);

  const metrics = curves.metrics();
  const shown = metrics.includes(view.metric) || !metrics.length ? view.metric : metrics[0];
  const gpus = Number(study.spec.trial?.resources?.gpus ?? study.spec.trial?.gpus ?? 0);
  const factor = view.by === "busy" && gpus ? gpus : 1;
  const logX = view.scaleX === "log";
  const points = (number) => {
    const found = smooth(placed(feed, number, shown, view.by), Number(view.weight) || 0);
    return logX || factor !== 1 ? found.map(([x, value]) => [x * factor, value]).filter(([x]) => !logX || x > 0) : found;
  };
  const count = Math.max(1, Number(view.top) || 5);
  const groups = [
    ...others.map((number) => ({ number, kind: "other", data: points(number) })),
    ...best.map((number, rank) => ({ number, kind: rank < count ? "best" : "other", rank, data: points(number) })),
    ...running.map((number) => ({ number, kind: "running", data: points(number) })),
  ].filter(({ data }) => data.some(([, value]) => value !== null));
  const pruned = groups.filter(({ number }) => trials.states[number] === "PRUNED").map(({ number, data }) => [...data.at(-1), number]);
  const positive = groups.every(({ data }) => data.every(([, value]) => value === null || value > 0));
  const drawn = (kind) => groups.filter((group) => group.kind === kind).length;
  const higherIsBetter = isHigherBetter(shown, objective);
  const valuesOf = (wanted) => groups.filter(wanted).flatMap(({ data }) => data.map(([, value]) => value).filter(Number.isFinite));
  const bound = worstOfBest(
    valuesOf(({ kind }) => kind === "best"),
    valuesOf(() => true),
    higherIsBetter,
  );
  const clipping = bound !== undefined && view.range !== "all";
  const axisName = view.by === "busy" && gpus ? "GPU time" : AXES[view.by];
  const kinds = [
    [drawn("best"), drawn("best") === 1 ? "best trial" : "best trials"],
    [drawn("running"), "running"],
    [drawn("other"), drawn("other") === 1 ? "other in grey" : "others in grey"],
  ].flatMap(([number, word]) => (number ? [`${number} ${word}`] : []));
  const caption =
    `${shown} by ${axisName}: ${kinds.join(", ")}` +
    `${pruned.length ? ` (${pruned.length} pruned, their ends marked)` : ""}${Number(view.weight) ? "; smoothed" : ""}${clipping ? "; far worse values cut off" : ""}${groups.some(({ number }) => curves.isThinned(number)) ? "; long curves thinned to their extremes" : ""}.`;
  const place = (x) => (view.by === "step" ? formatNumber(x) : formatDuration(x));

  const open = (number) => navigate(trialAddress(study.id, number));
  const order = { best: 0, running: 1, other: 2 };
  const rows = () =>
    [...groups]
      .sort((a, b) => order[a.kind] - order[b.kind])
      .map(({ number, kind, rank, data }) =>
        pointRow(
          data.filter(([, value]) => value !== null).map(([x, value]) => [x, value, number]),
          ([x, value]) => `Trial ${number}${kind === "running" ? ", running" : rank === undefined ? "" : `, rank ${rank + 1}`}: ${shown} ${formatNumber(value)} at ${view.by === "step" ? "step " : ""}${place(x)}`,
          open,
        ),
      );

  const build = (palette) => {
    const colour = (rank) => (count <= palette.series.length ? palette.series[rank] : viridis(palette.dark ? 1 - (0.8 * rank) / count : (0.85 * rank) / count));
    const series = groups.map(({ number, kind, rank, data }) => {
      const name = `${number}`;
      if (kind === "running") return lineSeries(name, data, palette.running, { z: 4, lineStyle: { width: 1.5, color: palette.running, type: [4, 2] } });
      if (kind === "best") return lineSeries(name, data, colour(rank), { z: 5, lineStyle: { width: 2, color: colour(rank), type: dash(rank) } });
      return lineSeries(name, data, palette.waiting, { z: 2, lineStyle: { width: 1, color: palette.waiting, opacity: rank === undefined ? 0.28 : 0.5 } });
    });
    const words = new Map(groups.map(({ number, kind, rank }) => [`${number}`, rank !== undefined ? `#${number}, rank ${rank + 1}` : `#${number}${kind === "running" ? ", running" : ""}`]));
    const listed = groups.filter(({ kind }) => kind === "best").map(({ number }) => ({ name: `${number}` }));
    return {
      grid: { left: 60, right: 20, top: 30, bottom: 40 },
      legend: {
        data: [...(count <= palette.series.length ? listed : []), ...(pruned.length ? [{ name: "pruned", icon: DIAMOND }] : [])],
        formatter: (name) => (name === "pruned" ? "pruned here" : `trial ${name}`),
        selectedMode: false,
        top: 0,
        left: 0,
        right: 0,
        type: "scroll",
        itemWidth: 28,
        itemHeight: 8,
        itemGap: 14,
        textStyle: { color: palette.muted, fontSize: 11 },
      },
      tooltip: tooltip(palette, {
        trigger: "axis",
        axisPointer: { lineStyle: { color: palette.line } },
        formatter: (found) => {
          const rows = found
            .filter(({ data, seriesName }) => data[1] !== null && seriesName !== "pruned")
            .sort((a, b) => (higherIsBetter ? b.data[1] - a.data[1] : a.data[1] - b.data[1]));
          const lines = rows.slice(0, NUM_LISTED).map(({ seriesName, data, color }) => [words.get(seriesName) ?? seriesName, formatNumber(data[1]), color]);
          const title = rows.length ? `${view.by === "step" ? "Step " : ""}${place(rows[0].data[0])}` : "";
          return tip(title, rows.length > NUM_LISTED ? [...lines, [`and ${rows.length - NUM_LISTED} more`, ""]] : lines);
        },
      }),
      xAxis: axis(palette, {
        type: logX ? "log" : "value",
        name: axisName,
        nameGap: 24,
        splitLine: { show: false },
        minInterval: view.by === "step" ? 1 : undefined,
        ...(logX ? { min: "dataMin" } : {}),
        max: "dataMax",
        axisLabel: { color: palette.muted, fontSize: 11, hideOverlap: true, formatter: place },
      }),
      yAxis: axis(palette, {
        type: view.scale === "log" && positive ? "log" : "value",
        scale: true,
        ...(clipping ? { [higherIsBetter ? "min" : "max"]: bound } : {}),
        axisLabel: {
          color: palette.muted,
          fontSize: 11,
          formatter: (value) => formatNumber(value),
          ...(clipping ? { [higherIsBetter ? "showMinLabel" : "showMaxLabel"]: false } : {}),
        },
      }),
      series: [
        ...series,
        ...(pruned.length ? [{ name: "pruned", type: "scatter", symbol: "diamond", symbolSize: 7, data: pruned, z: 3, itemStyle: { color: palette.pruned } }] : []),
      ],
      dataZoom: [{ id: "x", type: "inside", filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false }],
    };
  };

  const controls = html`<${Controls} view=${view} metrics=${metrics} shown=${shown} positive=${positive} clippable=${bound !== undefined} gpus=${gpus} />`;
  return html`<${Chart} title="Learning curves" summary=${caption} build=${build} controls=${controls}
    empty=${groups.length ? null : metrics.length ? `No drawn trial has reported a finite ${shown}.` : "No reports yet: a trial's curve appears with its first report."}
    onPoint=${({ seriesName, data }) => open(seriesName === "pruned" ? data[2] : seriesName)}
    cursor=${rows}
    table=${() => ({
      columns: ["Trial", "Kind", view.by === "step" ? axisName : `${axisName} in seconds`, shown],
      rows: groups.flatMap(({ number, kind, data }) => data.filter(([, value]) => value !== null).map((point) => [number, kind, ...point])),
    })} />`;
}
