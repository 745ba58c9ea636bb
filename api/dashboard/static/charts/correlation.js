// How numbers go together: Spearman's rank correlation between objectives, numeric parameters and the time a trial took, over complete trials.
// Admitted weakness: of many trials an even sample is read, and of many parameters the most important ones.

import { html, useMemo } from "../vendor/htm-preact.js";
import { Chart, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { formatCount } from "../format.js";

const MAX_TRIALS = 1500;
const MAX_PARAMETERS = 10;
const MIN_PAIRS = 5;

// Ranks from 0, ties share their mean.
export function ranks(values) {
  const order = values.map((value, i) => [value, i]).sort((a, b) => a[0] - b[0]);
  const found = new Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to + 1 < order.length && order[to + 1][0] === order[from][0]) to += 1;
    for (let i = from; i <= to; i += 1) found[order[i][1]] = (from + to) / 2;
    from = to + 1;
  }
  return found;
}

// Spearman's correlation of the pairs that are both finite; null with fewer than MIN_PAIRS or without any spread.
export function spearman(one, other) {
  const both = one.map((value, i) => [value, other[i]]).filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b));
  if (both.length < MIN_PAIRS) return null;
  const [a, b] = [ranks(both.map(([value]) => value)), ranks(both.map(([, value]) => value))];
  const middle = (both.length - 1) / 2;
  let [ab, aa, bb] = [0, 0, 0];
  a.forEach((rank, i) => {
    ab += (rank - middle) * (b[i] - middle);
    aa += (rank - middle) ** 2;
    bb += (b[i] - middle) ** 2;
  });
  return aa && bb ? ab / Math.sqrt(aa * bb) : null;
}

// {names, rows, count}: rows[i][j] is the correlation of names i and j.
function correlations(feed, objective, shares) {
  const { trials, objectives } = feed;
  const ranked = trials.drawable(objective);
  const stride = Math.max(1, Math.ceil(ranked.length / MAX_TRIALS));
  const numbers = ranked.filter((_, i) => i % stride === 0);
  const isNumeric = (name) => numbers.every((number) => trials.params[name][number] === undefined || typeof trials.params[name][number] === "number");
  const parameters = trials
    .paramNames()
    .filter((name) => isNumeric(name) && new Set(numbers.map((number) => trials.params[name][number])).size > 2)
    .sort((a, b) => (shares?.[b] ?? 0) - (shares?.[a] ?? 0))
    .slice(0, MAX_PARAMETERS);
  const columns = [
    ...objectives.map(({ name }) => [name, numbers.map((number) => trials.value(name, number))]),
    ...parameters.map((name) => [name, numbers.map((number) => trials.params[name][number])]),
    ["time it took", numbers.map((number) => trials.duration(number))],
  ];
  const lower = columns.map(([, one], i) => columns.map(([, other], j) => (j > i ? null : i === j ? 1 : spearman(one, other))));
  const rows = lower.map((row, i) => row.map((value, j) => (j > i ? lower[j][i] : value)));
  // A parameter that too few trials have is compared with nothing.
  const known = rows.flatMap((row, i) => (row.some((value, j) => i !== j && value !== null) ? [i] : []));
  return { names: known.map((i) => columns[i][0]), rows: known.map((i) => known.map((j) => rows[i][j])), count: numbers.length };
}

const signed = (value) => (value === null ? "–" : value.toFixed(2).replace("-", "−"));

export function Correlation({ feed, objective, filter, shares }) {
  const complete = feed.study.counts.complete;
  // Anew when a twentieth of the trials is new: a study that runs would have it computed four times a second.
  const step = complete < 50 ? complete : Math.round(20 * Math.log(complete));
  const { names, rows, count } = useMemo(() => correlations(feed, objective, shares), [feed.path, objective.name, step, filter?.numbers, filter?.states, shares]);
  const first = names.indexOf(objective.name);
  const strongest = (first < 0 ? [] : names)
    .map((name, i) => [name, rows[first][i]])
    .filter(([name, value]) => name !== objective.name && value !== null)
    .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))[0];
  const summary = `Spearman's rank correlation over ${formatCount(count)} complete trials${strongest ? `; strongest with ${objective.name}: ${strongest[0]}, ${signed(strongest[1])}` : ""}.`;
  const build = (palette) => {
    const label = (rest) => ({ color: palette.text, fontSize: 11, interval: 0, width: 88, overflow: "truncate", ...rest });
    const category = (rest) => ({ type: "category", data: names, axisLine: { show: false }, axisTick: { show: false }, splitLine: { show: false }, ...rest });
    return {
      grid: { left: 104, right: 12, top: 8, bottom: 68 },
      tooltip: tooltip(palette, { trigger: "item", formatter: ({ data }) => tip(`${names[data[0]]} and ${names[data[1]]}`, [["correlation", signed(data[2])]]) }),
      xAxis: category({ axisLabel: label({ rotate: 35 }) }),
      yAxis: category({ inverse: true, axisLabel: label() }),
      series: [
        {
          type: "custom",
          encode: { x: 0, y: 1 },
          data: rows.flatMap((row, j) => row.flatMap((value, i) => (value === null || i === j ? [] : [[i, j, value]]))),
          renderItem: (_, api) => {
            const [x, y] = api.coord([api.value(0), api.value(1)]);
            const [width, height] = api.size([1, 1]);
            const value = api.value(2);
            const shape = { x: x - width / 2 + 1, y: y - height / 2 + 1, width: width - 2, height: height - 2, r: 3 };
            return {
              type: "group",
              children: [
                { type: "rect", shape, style: { fill: value > 0 ? palette.complete : palette.pruned, opacity: 0.06 + 0.5 * Math.abs(value) } },
                ...(width > 30 ? [{ type: "text", style: { text: signed(value), x, y, align: "center", verticalAlign: "middle", fill: palette.text, fontSize: 11 }, silent: true }] : []),
              ],
            };
          },
        },
      ],
    };
  };
  const describeCell = ([i, j]) => `${names[i]} and ${names[j]}: ${signed(rows[j][i])}`;
  const cursor = () => rows.map((row, j) => pointRow(row.flatMap((value, i) => (value === null || i === j ? [] : [[i, j]])), describeCell));
  return html`<${Chart} title="Correlation" summary=${summary} build=${build} height=${320} cursor=${cursor}
    empty=${!strongest ? `Needs ${MIN_PAIRS} complete trials and a numeric parameter that varies.` : null}
    table=${() => ({ columns: ["", ...names], rows: names.map((name, i) => [name, ...rows[i].map((value) => value ?? undefined)]) })} />`;
}
