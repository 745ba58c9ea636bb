// How the values of the objective are spread: the share of complete trials that are at least as good as a value (empirical distribution), one line
// a level of a parameter. A line that lies above another everywhere is the better level (Radosavovic et al. 2019).

import { html } from "../vendor/htm-preact.js";
import { axis, Chart, dash, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { Select } from "../controls.js";
import { formatChoices, formatCount, formatNumber } from "../format.js";
import { useQuery } from "../router.js";
import { hiddenEnds, spread } from "./typical.js";

const MAX_LEVELS = 8;
const MAX_POINTS = 400;

// Points [value, share of values at least as good], best first, thinned to MAX_POINTS.
export function distribution(values, maximize) {
  const sorted = [...values].sort((a, b) => (maximize ? b - a : a - b));
  const stride = Math.max(1, Math.ceil(sorted.length / MAX_POINTS));
  return sorted.map((value, index) => [value, (index + 1) / sorted.length]).filter((_, index) => (index + 1) % stride === 0 || index === sorted.length - 1);
}

export function Distribution({ feed, objective }) {
  const { trials } = feed;
  const [by, setBy] = useQuery("levels");
  const maximize = objective.direction === "maximize";
  const ranked = trials.drawable(objective);
  const space = feed.study.spec.space ?? {};
  const levelled = trials.paramNames().filter((name) => space[name]?.type === "categorical");
  const value = (number) => trials.value(objective.name, number);
  const groups = new Map();
  for (const number of ranked) {
    const level = by ? trials.params[by]?.[number] : objective.name;
    if (!groups.has(level)) groups.set(level, []);
    groups.get(level).push(value(number));
  }
  const most = [...groups].sort((a, b) => b[1].length - a[1].length).slice(0, MAX_LEVELS);
  const names = formatChoices(most.map(([level]) => level));
  const shown = most.map(([level, values], i) => [names[i], values, level]);
  const { range: typical, outside } = spread(trials, objective);
  const summary = ranked.length
    ? `${formatCount(ranked.length)} complete trials; half are at least as good as ${formatNumber(value(ranked[Math.floor((ranked.length - 1) / 2)]))}` +
      `${shown.length < groups.size ? `; the ${MAX_LEVELS} levels with most trials of ${groups.size}` : ""}${outside && `; ${outside} outside the range shown`}.`
    : "";
  const build = (palette) => ({
    color: palette.series,
    grid: { left: 60, right: 20, top: by ? 46 : 12, bottom: 40 },
    legend: { show: Boolean(by), type: "scroll", top: 0, left: 0, right: 0, itemWidth: 28, itemHeight: 8, textStyle: { color: palette.muted, fontSize: 11 } },
    tooltip: tooltip(palette, {
      trigger: "item",
      formatter: ({ data, seriesName, color }) =>
        tip(seriesName, [
          [`at least as good as ${formatNumber(data[0])}`, `${Math.round(100 * data[1])} %`, color],
        ]),
    }),
    xAxis: axis(palette, {
      type: "value",
      scale: true,
      inverse: maximize,
      name: objective.name,
      nameGap: 24,
      ...typical,
      axisLabel: { color: palette.muted, fontSize: 11, formatter: (number) => formatNumber(number, 3), ...hiddenEnds(typical) },
    }),
    yAxis: axis(palette, { type: "value", min: 0, max: 1, axisLabel: { color: palette.muted, fontSize: 11, formatter: (share) => `${Math.round(100 * share)} %` } }),
    series: shown.map(([name, values], index) => ({
      name,
      type: "line",
      step: "end",
      symbol: "circle",
      symbolSize: 4,
      showSymbol: values.length < 40,
      triggerLineEvent: true,
      lineStyle: { width: 2, type: dash(index) },
      data: distribution(values, maximize),
    })),
  });
  const controls = html`<${Select} label="One line a level of" value=${by} onChange=${setBy} options=${[["", "All trials"], ...levelled.map((name) => [name, `by ${name}`])]} />`;
  const describePoint = (name, [number, share]) => `${by ? `${name}: ` : ""}${Math.round(100 * share)} % at least as good as ${formatNumber(number)}`;
  return html`<${Chart} title="Distribution of values" summary=${summary} build=${build} controls=${levelled.length > 0 && controls}
    cursor=${() => shown.map(([name, values]) => pointRow(distribution(values, maximize), (point) => describePoint(name, point)))}
    empty=${ranked.length > 1 ? null : "Needs at least two complete trials."}
    table=${() => ({
      columns: ["Level", objective.name, "Share at least as good"],
      rows: shown.flatMap(([, values, level]) => distribution(values, maximize).map((point) => [level === undefined ? "absent" : level, ...point])),
    })} />`;
}
