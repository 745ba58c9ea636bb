// Parallel coordinates: one line a complete trial across its parameters to its value, coloured by rank. Drag along an axis to filter.
// A parameter absent by its condition is skipped by the line. Admitted weakness: beyond MAX_LINES the best and an even sample are drawn.

import { html } from "../vendor/htm-preact.js";
import { Chart, tip, tooltip } from "../chart.js";
import { formatCount, formatNumber, formatParam } from "../format.js";
import { navigate, trialAddress } from "../router.js";
import { outlierBound } from "./history.js";

const MAX_LINES = 800;
const MAX_AXES = 10;
const AXIS_WIDTH = 120; // below this the labels of neighbours run into each other
const VIRIDIS = [
  [68, 1, 84],
  [59, 82, 139],
  [33, 145, 140],
  [94, 201, 98],
  [253, 231, 37],
];

export function viridis(share) {
  const place = Math.min(1, Math.max(0, share)) * (VIRIDIS.length - 1);
  const [from, to] = [VIRIDIS[Math.floor(place)], VIRIDIS[Math.ceil(place)]];
  return `rgb(${from.map((part, i) => Math.round(part + (to[i] - part) * (place % 1))).join(",")})`;
}

// The best half of MAX_LINES, and an even sample of the rest.
export function sample(ranked) {
  if (ranked.length <= MAX_LINES) return ranked;
  const [best, rest] = [ranked.slice(0, MAX_LINES / 2), ranked.slice(MAX_LINES / 2)];
  return best.concat(Array.from({ length: MAX_LINES / 2 }, (_, i) => rest[Math.floor((i * rest.length) / (MAX_LINES / 2))]));
}

export function ParallelCoordinates({ feed, objective, study }) {
  const { trials } = feed;
  const ranked = trials.ranked(objective);
  const maximize = objective.direction === "maximize";
  const bound = outlierBound(
    ranked.map((number) => trials.value(objective.name, number)),
    maximize,
  );
  const typical =
    bound === undefined
      ? ranked
      : ranked.filter((number) =>
          maximize ? trials.value(objective.name, number) >= bound : trials.value(objective.name, number) <= bound,
        );
  const shown = sample(typical);
  const space = feed.study.spec.space ?? {};
  const maxAxes = Math.max(2, Math.min(MAX_AXES, Math.floor(innerWidth / AXIS_WIDTH) - 1));
  const filled = trials.paramNames().map((name) => [name, shown.filter((number) => trials.params[name][number] !== undefined).length]);
  const names = filled
    .filter(([, count]) => count > 0)
    .sort((a, b) => b[1] - a[1])
    .slice(0, maxAxes)
    .map(([name]) => name)
    .sort((a, b) => trials.paramNames().indexOf(a) - trials.paramNames().indexOf(b));
  const summary =
    `${formatCount(shown.length)}${shown.length < ranked.length ? ` of ${formatCount(ranked.length)}` : ""} complete trials` +
    `${typical.length < ranked.length ? ` (${formatCount(ranked.length - typical.length)} with far worse values left out)` : ""}` +
    `${names.length < filled.length ? `, ${names.length} of ${filled.length} parameters` : ""}; the better a trial, the stronger its line stands out. Drag along an axis to filter.`;

  const build = (palette) => {
    const axes = names.map((name, dim) => {
      const given = shown.map((number) => trials.params[name][number]).filter((value) => value !== undefined);
      const numeric = given.every((value) => typeof value === "number") && space[name]?.type !== "categorical";
      const common = { dim, name, nameTextStyle: { color: palette.text, fontSize: 11 }, nameTruncate: { maxWidth: 130 } };
      if (!numeric) {
        const choices = space[name]?.choices ?? [...new Set(given)].sort();
        return { ...common, type: "category", data: choices.map(formatParam) };
      }
      const log = Boolean(space[name]?.log) && given.every((value) => value > 0);
      return {
        ...common,
        type: log ? "log" : "value",
        scale: true,
        min: Math.min(...given),
        max: Math.max(...given),
        ...(given.every(Number.isInteger) ? { minInterval: 1 } : {}),
      };
    });
    axes.push({
      dim: names.length,
      name: objective.name,
      type: "value",
      scale: true,
      inverse: !maximize,
      nameLocation: maximize ? "end" : "start",
      nameTextStyle: { color: palette.text, fontSize: 11, fontWeight: 600 },
      nameTruncate: { maxWidth: 130 },
    });
    return {
      parallel: {
        left: 50,
        right: 70,
        top: 34,
        bottom: 20,
        parallelAxisDefault: {
          nameLocation: "end",
          nameGap: 14,
          axisLine: { lineStyle: { color: palette.waiting } },
          axisTick: { show: false },
          axisLabel: {
            color: palette.text,
            fontSize: 11,
            backgroundColor: palette.raised,
            padding: [1, 3],
            borderRadius: 3,
            formatter: (value) => formatParam(typeof value === "string" ? value : Number(value)),
            showMinLabel: true,
            showMaxLabel: true,
            hideOverlap: true,
          },
          areaSelectStyle: { width: 16, borderColor: palette.accent, color: palette.accent, opacity: 0.2 },
        },
      },
      parallelAxis: axes,
      tooltip: tooltip(palette, {
        trigger: "item",
        formatter: ({ data }) =>
          tip(`Trial ${data.number}`, [[objective.name, formatNumber(trials.value(objective.name, data.number), 6)]]),
      }),
      series: [
        {
          type: "parallel",
          z: 0,
          inactiveOpacity: 0.03,
          activeOpacity: 0.9,
          smooth: 0.12,
          emphasis: { lineStyle: { width: 3, opacity: 1 } },
          data: shown
            .map((number, rank) => {
              const quality = shown.length > 1 ? 1 - rank / (shown.length - 1) : 1;
              return {
                number,
                value: [
                  ...names.map((name, dim) => {
                    const value = trials.params[name][number];
                    if (value === undefined) return "-";
                    return axes[dim].type === "category" ? formatParam(value) : value;
                  }),
                  trials.value(objective.name, number),
                ],
                // Light ground: the best are dark; dark ground: the best are bright.
                lineStyle: {
                  color: viridis(palette.dark ? quality : 0.92 * (1 - quality)),
                  opacity: 0.12 + 0.68 * quality ** 3,
                  width: rank < 3 ? 2.5 : 1.2,
                },
              };
            })
            .reverse(),
        },
      ],
    };
  };

  return html`<${Chart} title="Parallel coordinates" wide=${true} height=${300} summary=${summary} build=${build}
    empty=${shown.length >= 2 && names.length ? null : "Needs at least two complete trials."}
    onPoint=${({ data }) => navigate(trialAddress(study.id, data.number))}
    table=${() => ({
      columns: ["Trial", ...names, objective.name],
      rows: shown.map((number) => [
        number,
        ...names.map((name) => formatParam(trials.params[name][number])),
        formatNumber(trials.value(objective.name, number), 6),
      ]),
    })} />`;
}
