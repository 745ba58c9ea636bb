// Expected best value after k trials, one line a level with its 95 % band: what a budget of k trials would have found (Dodge et al. 2019).

import { html } from "../vendor/htm-preact.js";
import { axis, Chart, dash, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { decodeNumber, formatChoices, formatNumber } from "../format.js";

const MAX_BANDS = 3; // of the levels that lead: more of them on top of each other say nothing

const finite = (value) => Number.isFinite(value);

// [k, expected, low, high] of a level, where the expected value is a number.
export function curve(level) {
  const after = level.best_after;
  if (!after) return [];
  return after.k
    .map((k, index) => [k, decodeNumber(after.expected[index]), decodeNumber(after.low[index]), decodeNumber(after.high[index])])
    .filter(([, expected]) => finite(expected));
}

export function BestAfter({ comparison }) {
  const names = formatChoices(comparison.levels.map(({ level }) => level));
  const levels = comparison.levels.map((given, i) => ({ name: names[i], level: given.level, points: curve(given) })).filter(({ points }) => points.length);
  const longest = Math.max(0, ...levels.map(({ points }) => points.at(-1)[0]));
  const summary = levels.length
    ? `Expected best ${comparison.metric} after 1 to ${longest} trials; bands are 95 % intervals${levels.length > MAX_BANDS ? ` of the ${MAX_BANDS} levels that lead` : ""}, drawn as far as they can be relied on.`
    : "";
  const build = (palette) => {
    const colour = (index) => palette.series[index % palette.series.length];
    return {
      color: palette.series,
      grid: { left: 64, right: 20, top: 46, bottom: 40 },
      legend: { type: "scroll", data: levels.map(({ name }) => name), top: 0, left: 0, right: 0, itemWidth: 28, itemHeight: 8, textStyle: { color: palette.muted, fontSize: 11 } },
      tooltip: tooltip(palette, {
        trigger: "item",
        formatter: ({ data, seriesName, color }) =>
          tip(`${seriesName}, after ${data[0]} trials`, [
            ["expected best", formatNumber(data[1], 5), color],
            ...(finite(data[2]) && finite(data[3]) ? [["95 % interval", `${formatNumber(data[2])} to ${formatNumber(data[3])}`]] : []),
          ]),
      }),
      xAxis: axis(palette, { type: longest > 20 ? "log" : "value", min: 1, name: "trials", nameGap: 24, minInterval: 1, splitLine: { show: false } }),
      yAxis: axis(palette, { type: "value", scale: true, axisLabel: { color: palette.muted, fontSize: 11, formatter: (value) => formatNumber(value) } }),
      series: levels.flatMap(({ name, points }, index) => {
        const band = index < MAX_BANDS ? points.filter(([, , low, high]) => finite(low) && finite(high)) : [];
        return [
          {
            name: `${name} band`,
            type: "custom",
            silent: true,
            clip: true,
            z: 1,
            data: band.length > 1 ? [[band[0][0], band[0][1]]] : [],
            renderItem: (_, api) => ({
              type: "polygon",
              shape: { points: [...band.map(([k, , low]) => api.coord([k, low])), ...band.map(([k, , , high]) => api.coord([k, high])).reverse()] },
              style: { fill: colour(index), opacity: 0.12 },
            }),
          },
          {
            name,
            type: "line",
            data: points,
            z: 3,
            color: colour(index),
            symbol: "circle",
            symbolSize: 5,
            showSymbol: points.length < 30,
            triggerLineEvent: true,
            lineStyle: { width: 2, type: dash(index) },
          },
        ];
      }),
    };
  };
  const describePoint = (name, [k, expected, low, high]) =>
    `${name}, after ${k} ${k === 1 ? "trial" : "trials"}: ${formatNumber(expected)}${finite(low) && finite(high) ? `, 95 % interval ${formatNumber(low)} to ${formatNumber(high)}` : ""}`;
  return html`<${Chart} title="Expected best after k trials" wide=${true} height=${300} summary=${summary} build=${build}
    cursor=${() => levels.map(({ name, points }) => pointRow(points, (point) => describePoint(name, point)))}
    empty=${levels.length ? null : "No level has a result yet."}
    table=${() => ({
      columns: [comparison.by, "Trials", `Expected best ${comparison.metric}`, "Low", "High"],
      rows: levels.flatMap(({ level, points }) => points.map((point) => [level, ...point.map((cell) => cell ?? undefined)])),
    })} />`;
}
