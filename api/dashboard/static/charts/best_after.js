// The best value of each level over what was spent on it, trials, training time or GPU-hours: as trials drawn at random would have given it, with its
// 95 % band (Dodge et al. 2019), or as it came. Admitted weakness: what k trials cost is k times the mean, and as it came is one run without a band.

import { html } from "../vendor/htm-preact.js";
import { axis, Chart, dash, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { Choice } from "../controls.js";
import { decodeNumber, formatChoices, formatCount, formatDuration, formatNumber } from "../format.js";
import { useQuery } from "../router.js";

const MAX_BANDS = 3; // of the levels that lead: more of them on top of each other say nothing
const WIDE = 20; // times the first place: from here on the horizontal axis is logarithmic
const ROUND_TIMES = [0.001, 0.01, 0.1, 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10_800, 36_000, 86_400, 259_200, 864_000, 8_640_000]; // seconds: powers of ten are not round

const finite = (value) => Number.isFinite(value);
const inTrials = (count) => `${formatCount(count)} ${count === 1 ? "trial" : "trials"}`;

// What may be spent: where it stands in the answer, per unit of the axis, and in words.
const COSTS = {
  trials: { label: "Trials", title: "trials", unit: 1, say: inTrials, tick: formatCount },
  time: { label: "Time", title: "training time", key: "seconds", unit: 1, say: (seconds) => `${formatDuration(seconds)} of training`, tick: formatDuration, marks: ROUND_TIMES },
  gpu: { label: "GPU-hours", title: "GPU-hours", key: "gpu_seconds", unit: 3600, say: (hours) => `${formatNumber(hours, 3)} GPU-hours`, tick: (hours) => formatNumber(hours, 3) },
};
const CURVES = [
  ["expected", "Expected"],
  ["ran", "As it ran"],
];

// [spent, best, low, high, trials] of a level, where the best is a number and something was spent.
export function curve(level, kind = "expected", cost = "trials") {
  const given = kind === "ran" ? level.best_so_far : level.best_after;
  if (!given) return [];
  const { key, unit } = COSTS[cost];
  const trials = given.k ?? given.trials;
  const at = (values, index) => decodeNumber(values?.[index]);
  return trials
    .map((count, index) => [(key ? given[key][index] : count) / unit, at(given.expected ?? given.value, index), at(given.low, index), at(given.high, index), count])
    .filter(([spent, best]) => finite(best) && spent > 0);
}

export function BestAfter({ comparison }) {
  const names = formatChoices(comparison.levels.map(({ level }) => level));
  const [wantedCost, setCost] = useQuery("best-x", "trials");
  const [wantedKind, setKind] = useQuery("best-curve", "expected");
  const offered = Object.keys(COSTS).filter((cost) => comparison.levels.some((level) => curve(level, "expected", cost).length));
  const cost = offered.includes(wantedCost) ? wantedCost : "trials";
  const kind = wantedKind === "ran" ? "ran" : "expected";
  const ran = kind === "ran";
  const { title, say, tick, marks } = COSTS[cost];
  const all = comparison.levels.map((given, i) => ({ name: names[i], level: given.level, points: curve(given, kind, cost), counted: given.trials.counted }));
  const levels = all.filter(({ points }) => points.length);
  const missing = all.filter(({ points, counted }) => counted && !points.length).map(({ name }) => name);
  const longest = Math.max(0, ...levels.map(({ points }) => points.at(-1)[0]));
  const shortest = Math.min(...levels.map(({ points }) => points[0][0]));
  const isLog = longest > WIDE * shortest;
  const named = ran ? `Best ${comparison.metric} so far, as the trials came,` : `Expected best ${comparison.metric}`;
  const reach = cost === "trials" ? `after 1 to ${inTrials(longest)}` : `for up to ${say(longest)}${ran ? "" : ", k trials taken for k times the mean"}`;
  const bands = ran
    ? "one run each, so without an interval"
    : `bands are 95 % intervals${levels.length > MAX_BANDS ? ` of the ${MAX_BANDS} levels that lead` : ""}, drawn as far as they can be relied on`;
  const summary = levels.length ? `${named} ${reach}; ${bands}.${missing.length ? ` Without ${title} on record: ${missing.join(", ")}.` : ""}` : "";
  const spoken = (point) => (cost === "trials" ? `after ${inTrials(point[4])}` : `after ${say(point[0])} (${inTrials(point[4])})`);
  const build = (palette) => {
    const colour = (index) => palette.series[index % palette.series.length];
    return {
      color: palette.series,
      grid: { left: 64, right: 20, top: 46, bottom: 40 },
      legend: { type: "scroll", data: levels.map(({ name }) => name), top: 0, left: 0, right: 0, itemWidth: 28, itemHeight: 8, textStyle: { color: palette.muted, fontSize: 11 } },
      tooltip: tooltip(palette, {
        trigger: "item",
        formatter: ({ data, seriesName, color }) =>
          tip(`${seriesName}, ${spoken(data)}`, [
            [ran ? "best so far" : "expected best", formatNumber(data[1], 5), color],
            ...(finite(data[2]) && finite(data[3]) ? [["95 % interval", `${formatNumber(data[2])} to ${formatNumber(data[3])}`]] : []),
          ]),
      }),
      xAxis: axis(palette, {
        type: isLog ? "log" : "value",
        ...(cost === "trials" ? { min: 1, minInterval: 1 } : {}),
        ...(isLog ? { min: shortest, max: longest } : {}),
        name: title,
        nameGap: 24,
        splitLine: { show: false },
        axisLabel: { color: palette.muted, fontSize: 11, hideOverlap: true, formatter: tick, ...(isLog && marks ? { customValues: marks.filter((at) => at >= shortest && at <= longest) } : {}) },
      }),
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
              shape: { points: [...band.map(([spent, , low]) => api.coord([spent, low])), ...band.map(([spent, , , high]) => api.coord([spent, high])).reverse()] },
              style: { fill: colour(index), opacity: 0.12 },
            }),
          },
          {
            name,
            type: "line",
            step: ran ? "end" : false,
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
  const describePoint = (name, point) => {
    const [, best, low, high] = point;
    return `${name}, ${spoken(point)}: ${formatNumber(best)}${finite(low) && finite(high) ? `, 95 % interval ${formatNumber(low)} to ${formatNumber(high)}` : ""}`;
  };
  const controls = html`
    <${Choice} label="Curve" value=${kind} onChange=${setKind} options=${CURVES} />
    ${offered.length > 1 && html`<${Choice} label="Horizontal axis" value=${cost} onChange=${setCost} options=${offered.map((key) => [key, COSTS[key].label])} />`}`;
  const heading = ran ? `Best so far by ${title}` : cost === "trials" ? "Expected best after k trials" : `Expected best by ${title}`;
  return html`<${Chart} title=${heading} wide=${true} height=${300} summary=${summary} build=${build} controls=${controls}
    cursor=${() => levels.map(({ name, points }) => pointRow(points, (point) => describePoint(name, point)))}
    empty=${levels.length ? null : "No level has a result yet."}
    table=${() => ({
      columns: [comparison.by, "Trials", ...(cost === "trials" ? [] : [cost === "time" ? "Seconds of training" : "GPU-hours"]), ...(ran ? [`Best ${comparison.metric} so far`] : [`Expected best ${comparison.metric}`, "Low", "High"])],
      rows: levels.flatMap(({ level, points }) =>
        points.map(([spent, best, low, high, count]) => [level, count, ...(cost === "trials" ? [] : [spent]), best, ...(ran ? [] : [low ?? undefined, high ?? undefined])]),
      ),
    })} />`;
}
