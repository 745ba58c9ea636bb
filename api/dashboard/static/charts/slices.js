// One small chart a parameter: every complete trial by its value of the parameter and of the objective. Dragging over a range filters by it.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { dimension, dimensionAxis } from "../axes.js";
import { axis, Chart, CLOUD, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { pointed } from "../chart_hover.js";
import { formatCount, formatNumber, formatParam } from "../format.js";
import { navigate, trialAddress } from "../router.js";
import { selected, termName } from "../selection.js";
import { InTurn } from "../turns.js";
import { hiddenEnds, spread } from "./typical.js";

const HEIGHT = 190;

// Drawn once it comes into sight: a study may have sixty parameters.
function Lazily({ children, height }) {
  const box = useRef(null);
  const [seen, see] = useState(false);
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && see(true), { rootMargin: "200px" });
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return html`<div ref=${box} class="lazy" style=${seen ? {} : { minHeight: `${height}px` }}>${seen && children()}</div>`;
}

function Slice({ feed, study, objective, name, share, filter }) {
  const { trials } = feed;
  const typical = spread(trials, objective).range;
  const dim = dimension(feed, name);
  const points = trials
    .drawable(objective)
    .map((number) => [dim.at(number), trials.value(objective.name, number), number])
    .filter(([x]) => x !== undefined);
  const best = points[0];
  const summary = best
    ? `${formatCount(points.length)} trials; the best has ${formatParam(trials.params[name][best[2]])}${share === undefined ? "" : `; importance ${formatNumber(share, 2)}`}`
    : "";
  const open = (number) => navigate(trialAddress(study.id, number));
  const describePoint = ([, value, number]) => `Trial ${number}: ${name} ${formatParam(trials.params[name][number])}, ${objective.name} ${formatNumber(value)}`;
  const build = (palette) => ({
    grid: { left: 52, right: 12, top: 8, bottom: 24 },
    tooltip: tooltip(palette, {
      trigger: "item",
      formatter: ({ data }) =>
        tip(`Trial ${data[2]}`, [
          [name, formatParam(trials.params[name][data[2]])],
          [objective.name, formatNumber(data[1], 6)],
        ]),
    }),
    xAxis: dimensionAxis(palette, dim),
    yAxis: axis(palette, {
      type: "value",
      scale: true,
      splitNumber: 3,
      ...typical,
      axisLabel: { color: palette.muted, fontSize: 11, formatter: (value) => formatNumber(value, 3), ...hiddenEnds(typical) },
    }),
    brush: {
      xAxisIndex: 0,
      brushType: "lineX",
      brushMode: "single",
      throttleType: "debounce",
      throttleDelay: 200,
      brushStyle: { color: palette.accent, opacity: 0.15, borderColor: palette.accent },
      outOfBrush: { colorAlpha: 0.15 },
    },
    toolbox: { show: false },
    series: [
      {
        type: "scatter",
        data: points,
        symbolSize: points.length > CLOUD ? 3 : 6,
        large: points.length > CLOUD,
        itemStyle: { color: palette.complete, opacity: 0.6 },
        emphasis: pointed(palette),
      },
      ...(best
        ? [{ type: "scatter", data: [best], symbolSize: 11, z: 4, itemStyle: { color: palette.accent, borderColor: palette.background, borderWidth: 2 } }]
        : []),
    ],
  });
  const onRange = (range) => filter.set(selected(filter.text, termName(name, "params", feed), dim, range));
  return html`<${Chart} title=${name} height=${HEIGHT} summary=${summary} build=${build} onRange=${onRange}
    empty=${points.length ? null : "No complete trial has this parameter."}
    onPoint=${({ data }) => open(data[2])}
    cursor=${() => [pointRow([...points].sort((a, b) => a[0] - b[0]), describePoint, open)]}
    table=${() => ({
      columns: ["Trial", name, objective.name],
      rows: points.map(([, value, number]) => [number, trials.params[name][number], value]),
    })} />`;
}

export function Slices({ feed, study, objective, filter, shares }) {
  const { trials } = feed;
  const names = trials.paramNames().sort((a, b) => (shares?.[b] ?? 0) - (shares?.[a] ?? 0));
  const about = () => {
    const { outside } = spread(trials, objective);
    return html`<p class="muted about">The objective by each parameter, the most important first. Drag over a range to filter by it.${outside && ` Outside the range shown: ${outside}.`}</p>`;
  };
  return html`
    <section aria-label="Slices">
      <h2>Slices</h2>
      <${InTurn}>${about}<//>
      <div class="slices">${names.map(
        (name) => html`<${Lazily} key=${name} height=${HEIGHT + 90}>${() => html`<${InTurn}>${() =>
          html`<${Slice} feed=${feed} study=${study} objective=${objective} name=${name} share=${shares?.[name]} filter=${filter} />`}<//>`}<//>`,
      )}</div>
    </section>`;
}

