// Two objectives against each other: complete trials, and among them the front of those that no other beats in both.

import { html } from "../vendor/htm-preact.js";
import { axis, Chart, CLOUD, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { pointed } from "../chart_hover.js";
import { Select } from "../controls.js";
import { formatCount, formatNumber, isValue } from "../format.js";
import { navigate, trialAddress, useQuery } from "../router.js";

const hasPlace = ([a, b]) => Number.isFinite(a) && Number.isFinite(b);

// Of points [a, b, number], those that none beats in both; ordered by the first objective.
export function front(points, first, second) {
  const sign = (objective) => (objective.direction === "maximize" ? -1 : 1);
  const [s, t] = [sign(first), sign(second)];
  const sorted = [...points].sort((p, q) => s * (p[0] - q[0]) || t * (p[1] - q[1]));
  const kept = [];
  for (const point of sorted) {
    const last = kept.at(-1);
    if (!last || t * point[1] < t * last[1] || (point[0] === last[0] && point[1] === last[1])) kept.push(point);
  }
  return kept;
}

// Of points [value of each objective, ...], those that none dominates, as `tuner.front` finds them: points times front comparisons at worst.
export function paretoFront(points, objectives) {
  if (objectives.length === 2) return front(points, ...objectives);
  const signs = objectives.map(({ direction }) => (direction === "maximize" ? -1 : 1));
  const losses = points.map((point) => signs.map((sign, i) => sign * point[i]));
  const order = [...losses.keys()].sort((a, b) => {
    const differs = signs.findIndex((_, i) => losses[a][i] !== losses[b][i]);
    return differs < 0 ? 0 : losses[a][differs] < losses[b][differs] ? -1 : 1;
  });
  const dominates = (one, other) => one.every((loss, i) => loss <= other[i]) && one.some((loss, i) => loss < other[i]);
  const kept = [];
  for (const place of order) if (!kept.some((other) => dominates(losses[other], losses[place]))) kept.push(place);
  return kept.map((place) => points[place]);
}

export function Pareto({ feed, study, wide }) {
  const { trials, objectives } = feed;
  const [across, setAcross] = useQuery("pareto-x", objectives[0].name);
  const [up, setUp] = useQuery("pareto-y", objectives[1].name);
  const [first, second] = [across, up].map((name, i) => objectives.find((objective) => objective.name === name) ?? objectives[i]);
  const points = trials
    .order({ states: ["COMPLETE"] })
    .map((number) => [trials.value(first.name, number), trials.value(second.name, number), number])
    .filter(([a, b]) => isValue(a) && isValue(b));
  const infeasible = points.filter(([, , number]) => trials.isInfeasible(number));
  const feasible = points.filter(([, , number]) => !trials.isInfeasible(number));
  const best = front(feasible, first, second);
  const numInfinite = points.length - points.filter(hasPlace).length;
  const leading = new Set(best.map(([, , number]) => number));
  const summary = `${best.length} of ${formatCount(points.length)} complete trials are on the front of ${first.name} (${first.direction}) and ${second.name} (${second.direction})${infeasible.length ? `; ${formatCount(infeasible.length)} infeasible` : ""}${numInfinite ? `; ${formatCount(numInfinite)} with an infinite value, which has no place here` : ""}.`;

  const open = (number) => navigate(trialAddress(study.id, number));
  const describePoint = ([a, b, number]) => `Trial ${number}${leading.has(number) ? ", on the front" : ""}: ${first.name} ${formatNumber(a)}, ${second.name} ${formatNumber(b)}`;

  const build = (palette) => {
    const label = { color: palette.muted, fontSize: 11, formatter: (value) => formatNumber(value) };
    const scatter = (name, data, colour, rest) => ({ name, type: "scatter", data, itemStyle: { color: colour }, emphasis: pointed(palette), ...rest });
    return {
      grid: { left: 70, right: 24, top: 30, bottom: 44 },
      legend: { top: 0, left: 0, itemWidth: 12, itemHeight: 8, textStyle: { color: palette.muted, fontSize: 11 } },
      tooltip: tooltip(palette, {
        trigger: "item",
        formatter: ({ data }) =>
          tip(`Trial ${data[2]}`, [
            [first.name, formatNumber(data[0], 6)],
            [second.name, formatNumber(data[1], 6)],
          ]),
      }),
      xAxis: axis(palette, { type: "value", scale: true, name: first.name, nameGap: 26, axisLabel: label }),
      yAxis: axis(palette, { type: "value", scale: true, name: second.name, nameGap: 52, axisLabel: label }),
      series: [
        scatter(
          "Dominated",
          feasible.filter((point) => !leading.has(point[2]) && hasPlace(point)),
          palette.waiting,
          { symbolSize: 6, large: points.length > CLOUD, itemStyle: { color: palette.waiting, opacity: 0.55 } },
        ),
        ...(infeasible.length
          ? [scatter("Infeasible", infeasible.filter(hasPlace), palette.failed, { symbol: "triangle", symbolSize: 6, itemStyle: { color: palette.failed, opacity: 0.55 } })]
          : []),
        {
          name: "Front",
          type: "line",
          data: best.filter(hasPlace),
          color: palette.accent,
          symbol: "circle",
          symbolSize: 9,
          emphasis: pointed(palette),
          lineStyle: { width: 1.5, type: [4, 3] },
          z: 4,
        },
      ],
    };
  };

  const options = objectives.map(({ name }) => [name, name]);
  const controls =
    objectives.length > 2 &&
    html`
    <${Select} label="Horizontal objective" value=${first.name} options=${options} onChange=${setAcross} />
    <${Select} label="Vertical objective" value=${second.name} options=${options} onChange=${setUp} />`;
  return html`<${Chart} title="Pareto front" wide=${wide} summary=${summary} build=${build} controls=${controls}
    empty=${points.length ? null : "No trial is complete yet."}
    onPoint=${({ data }) => open(data[2])}
    cursor=${() => [best, points.filter(([, , number]) => !leading.has(number))].map((row) => pointRow(row, describePoint, open))}
    table=${() => ({
      columns: ["Trial", first.name, second.name, "On the front"],
      rows: points.map(([a, b, number]) => [number, a, b, leading.has(number) ? "yes" : ""]),
    })} />`;
}
