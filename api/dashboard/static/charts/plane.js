// Two parameters against each other: the plane is cut into cells, each coloured by the best value found in it; trials are dots.

import { html, useState } from "../vendor/htm-preact.js";
import { dimension, dimensionAxis } from "../axes.js";
import { Chart, tip, tooltip } from "../chart.js";
import { Select } from "../controls.js";
import { formatCount, formatNumber, formatParam } from "../format.js";
import { navigate, trialAddress } from "../router.js";
import { viridis } from "./parallel.js";

const CELLS = 16;
const MAX_DOTS = 2000;

// Edges of the cells along an axis: equal steps (of the logarithm where the axis has one), or one cell a choice.
export function edges(dim, places) {
  if (dim.categorical) return Array.from({ length: dim.choices.length + 1 }, (_, index) => index - 0.5);
  const scale = dim.log ? Math.log10 : (x) => x;
  const back = dim.log ? (x) => 10 ** x : (x) => x;
  const [low, high] = [scale(Math.min(...places)), scale(Math.max(...places))];
  if (!(high > low)) return [back(low - 0.5), back(low + 0.5)];
  return Array.from({ length: CELLS + 1 }, (_, index) => back(low + ((high - low) * index) / CELLS));
}

// [column, row, quality, number of the best trial, trials in it] of every cell that has one; quality 0..1 by rank among all trials.
export function cells(points, across, up) {
  const found = new Map();
  const place = (bounds, value) => Math.max(0, Math.min(bounds.length - 2, bounds.findLastIndex((edge) => edge <= value)));
  points.forEach(([x, y, number], rank) => {
    const [column, row] = [place(across, x), place(up, y)];
    const key = column * 1000 + row;
    const old = found.get(key);
    if (old) old[4] += 1;
    else found.set(key, [column, row, points.length > 1 ? 1 - rank / (points.length - 1) : 1, number, 1]);
  });
  return [...found.values()];
}

export function Plane({ feed, study, objective, shares }) {
  const { trials } = feed;
  const names = trials.paramNames().sort((a, b) => (shares?.[b] ?? 0) - (shares?.[a] ?? 0));
  const [chosen, choose] = useState([null, null]);
  const [first, second] = [chosen[0] ?? names[0], chosen[1] ?? names.find((name) => name !== (chosen[0] ?? names[0]))];
  const dims = first && second ? [dimension(feed, first), dimension(feed, second)] : null;
  // In the order of their rank: the first in a cell is its best.
  const points = !dims
    ? []
    : trials
        .ranked(objective)
        .map((number) => [dims[0].at(number), dims[1].at(number), number])
        .filter(([x, y]) => x !== undefined && y !== undefined);
  const best = points[0];
  const summary = best
    ? `${formatCount(points.length)} complete trials; each cell shows the best value in it, brighter is better. Best: ${first} ${formatParam(trials.params[first][best[2]])}, ${second} ${formatParam(trials.params[second][best[2]])}.`
    : "";
  const build = (palette) => {
    const across = edges(dims[0], points.map(([x]) => x));
    const up = edges(dims[1], points.map(([, y]) => y));
    const shade = (quality) => viridis(palette.dark ? quality : 0.1 + 0.9 * quality);
    const describe = (number, rows) =>
      tip(`Trial ${number}`, [
        [first, formatParam(trials.params[first][number])],
        [second, formatParam(trials.params[second][number])],
        [objective.name, formatNumber(trials.value(objective.name, number), 6)],
        ...rows,
      ]);
    return {
      grid: { left: 76, right: 16, top: 8, bottom: 44 },
      tooltip: tooltip(palette, {
        trigger: "item",
        formatter: ({ data, seriesName }) => (seriesName === "cells" ? describe(data[3], [["trials in this cell", formatCount(data[4])]]) : describe(data[2], [])),
      }),
      xAxis: dimensionAxis(palette, dims[0], { name: first, nameGap: 26 }),
      yAxis: dimensionAxis(palette, dims[1], { name: second, nameGap: 58 }),
      series: [
        {
          name: "cells",
          type: "custom",
          data: cells(points, across, up),
          encode: { x: -1, y: -1 },
          renderItem: (_, api) => {
            const [column, row] = [api.value(0), api.value(1)];
            const [left, top] = api.coord([across[column], up[row + 1]]);
            const [right, bottom] = api.coord([across[column + 1], up[row]]);
            return { type: "rect", shape: { x: left, y: top, width: Math.max(1, right - left - 1), height: Math.max(1, bottom - top - 1), r: 2 }, style: { fill: shade(api.value(2)), opacity: 0.85 } };
          },
        },
        {
          name: "trials",
          type: "scatter",
          data: points.slice(0, MAX_DOTS),
          symbolSize: 4,
          itemStyle: { color: palette.background, borderColor: palette.text, borderWidth: 1, opacity: 0.6 },
        },
        { name: "best", type: "scatter", data: best ? [best] : [], symbolSize: 13, z: 5, itemStyle: { color: "transparent", borderColor: palette.failed, borderWidth: 3 } },
      ],
    };
  };
  const options = names.map((name) => [name, name]);
  const controls = html`
    <${Select} label="Horizontal parameter" value=${first} options=${options} onChange=${(name) => choose([name, name === second ? first : second])} />
    <${Select} label="Vertical parameter" value=${second} options=${options} onChange=${(name) => choose([name === first ? second : first, name])} />`;
  return html`<${Chart} title="Two parameters" summary=${summary} build=${build} controls=${names.length > 1 && controls}
    empty=${points.length > 1 ? null : names.length < 2 ? "Needs two parameters." : "Needs two complete trials that have both parameters."}
    onPoint=${({ data, seriesName }) => navigate(trialAddress(study.id, seriesName === "cells" ? data[3] : data[2]))}
    table=${() => ({
      columns: ["Trial", first, second, objective.name],
      rows: points.map(([, , number]) => [number, formatParam(trials.params[first][number]), formatParam(trials.params[second][number]), formatNumber(trials.value(objective.name, number), 6)]),
    })} />`;
}
