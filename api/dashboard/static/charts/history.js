// Optimization history: every finished trial's value in the order of trials or of time, and the best so far as a line.
// Values far from all others are cut off by default (a diverged loss would flatten all else), and an infinite one has no place; the caption counts both.

import { html } from "../vendor/htm-preact.js";
import { axis, Chart, CLOUD, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { pointed } from "../chart_hover.js";
import { Choice } from "../controls.js";
import { extent } from "../extent.js";
import { formatCount, formatNumber, formatReason, isValue } from "../format.js";
import { navigate, trialAddress, useQuery } from "../router.js";
import { TRIAL_STATES } from "../states.js";
import { describeOutside, hiddenEnds, typicalRange } from "./typical.js";

const MIN_FOR_RANGE = 5; // with so many finished values, a running trial far from them waits outside instead of stretching the axis

// Points [x, value, number] of trials in a state, in the order of x; infinite values too.
export function points(trials, objective, state, by) {
  const found = [];
  for (const number of trials.numbers()) {
    if (trials.states[number] !== state) continue;
    const value = trials.value(objective.name, number);
    const x = by === "time" ? trials.finished[number] : number;
    if (isValue(value) && x !== undefined) found.push([x, value, number]);
  }
  return by === "time" ? found.sort((a, b) => a[0] - b[0]) : found;
}

export function bestSoFar(complete, maximize) {
  const line = [];
  for (const [x, value, number] of complete) {
    if (!line.length || (maximize ? value > line.at(-1)[1] : value < line.at(-1)[1])) line.push([x, value, number]);
  }
  if (line.length && complete.at(-1)[0] > line.at(-1)[0]) line.push([complete.at(-1)[0], line.at(-1)[1], line.at(-1)[2]]);
  return line;
}

// The line of the best within a range: it starts with the first value that can be drawn, and ends where a better one, an infinite one say, cannot.
export function drawn(line, { min = -Number.MAX_VALUE, max = Number.MAX_VALUE }) {
  const isDrawn = (value) => value >= min && value <= max;
  const end = line.findIndex(([, value], i) => i > 0 && isDrawn(line[i - 1][1]) && !isDrawn(value));
  const shown = line.filter(([, value], i) => isDrawn(value) && (end < 0 || i < end));
  return end > 0 ? [...shown, [line[end][0], shown.at(-1)[1], shown.at(-1)[2]]] : shown;
}

const hasPlace = ([, value]) => Number.isFinite(value);

// Why there is nothing to draw.
function reasonForNothing(trials) {
  const reasons = new Map();
  for (const number of trials.numbers()) {
    if (trials.states[number] === "COMPLETE" || trials.states[number] === "PRUNED") return "No trial that has ended has a finite value.";
    if (trials.states[number] === "FAIL") reasons.set(trials.reasons[number], (reasons.get(trials.reasons[number]) ?? 0) + 1);
  }
  if (!reasons.size) return "No values yet: the first point appears when a trial reports or completes.";
  const counted = [...reasons].sort((a, b) => b[1] - a[1]).map(([reason, count]) => `${formatCount(count)} ${formatReason(reason) || "for no reason given"}`);
  return `Every trial that has ended failed: ${counted.join(", ")}.`;
}

export function History({ feed, objective, study }) {
  const [by, setBy] = useQuery("history-x", "trial");
  const [scale, setScale] = useQuery("history-y", "linear");
  const [range, setRange] = useQuery("history-range", "typical");
  const { trials, curves } = feed;
  const maximize = objective.direction === "maximize";
  const complete = points(trials, objective, "COMPLETE", by);
  const pruned = points(trials, objective, "PRUNED", by);
  const [feasible, infeasible] = [false, true].map((broken) => complete.filter(([, , number]) => trials.isInfeasible(number) === broken));
  const best = bestSoFar(feasible, maximize);
  const ended = complete.concat(pruned);
  const all = ended.filter(hasPlace);
  const numInfinite = ended.length - all.length;
  const values = all.map(([, value]) => value);
  const typical = typicalRange(values, maximize);
  const canClip = Object.keys(typical).length > 0;
  const shown = range === "typical" ? typical : {};
  const outside = [describeOutside(values, shown, maximize), numInfinite && `${numInfinite} infinite ${numInfinite === 1 ? "value" : "values"}`].filter(Boolean).join(" and ");
  const positive = all.every(([, value]) => value > 0);
  const now = Date.now();
  const [low, high] = extent(values);
  const isNear = (value) => all.length < MIN_FOR_RANGE || (value >= low - (high - low) / 4 && value <= high + (high - low) / 4);
  const running = [...trials.numbers()]
    .filter((number) => trials.states[number] === "RUNNING")
    .map((number) => [by === "time" ? now : number, curves.last(number, objective.name)?.[1], number])
    .filter(([, value]) => Number.isFinite(value) && isNear(value));
  const winner = best.at(-1);
  const line = drawn(best, shown);
  const summary = winner
    ? `Best ${formatNumber(winner[1])} at trial ${winner[2]}; ${formatCount(complete.length)} complete${infeasible.length ? `, ${formatCount(infeasible.length)} of them infeasible` : ""}${pruned.length ? `, ${formatCount(pruned.length)} pruned` : ""}` +
      `${outside && `; outside the range shown: ${outside}`}.`
    : complete.length
      ? "No complete trial is feasible yet."
      : "No trial is complete yet.";
  const describe = ({ data, seriesName, color }) => tip(`Trial ${data[2]}`, [[seriesName, formatNumber(data[1], 6), color]]);

  const open = (number) => navigate(trialAddress(study.id, number));
  const describePoint = ([, value, number]) =>
    `Trial ${number}, ${TRIAL_STATES[trials.states[number]].word.toLowerCase()}: ${objective.name} ${formatNumber(value)}${number === winner?.[2] ? ", the best" : ""}`;

  const build = (palette) => {
    const scatter = (name, data, colour, rest) => ({
      name,
      type: "scatter",
      data,
      symbolSize: data.length > CLOUD ? 4 : 7,
      itemStyle: { color: colour, opacity: data.length > CLOUD ? 0.55 : 0.75 },
      large: data.length > CLOUD,
      emphasis: pointed(palette),
      ...rest,
    });
    const log = scale === "log" && positive;
    return {
      grid: { left: 60, right: 20, top: 30, bottom: 40 },
      legend: {
        data: ["Complete", "Infeasible", "Pruned", "Running, latest report", { name: "Best so far", icon: "path://M0 3h12v2H0z" }],
        type: "scroll",
        top: 0,
        left: 0,
        right: 0,
        itemWidth: 12,
        itemHeight: 9,
        itemGap: 14,
        textStyle: { color: palette.muted, fontSize: 11 },
      },
      tooltip: tooltip(palette, { trigger: "item", formatter: describe }),
      xAxis: axis(
        palette,
        by === "time"
          ? { type: "time", splitLine: { show: false } }
          : {
              type: "value",
              name: "trial",
              nameGap: 24,
              min: 0,
              minInterval: 1,
              splitLine: { show: false },
              max: Math.max(10, trials.length),
              axisLabel: { color: palette.muted, fontSize: 11, hideOverlap: true, showMaxLabel: trials.length <= 10 },
            },
      ),
      yAxis: axis(palette, {
        type: log ? "log" : "value",
        scale: true,
        ...shown,
        axisLabel: {
          color: palette.muted,
          fontSize: 11,
          formatter: (value) => formatNumber(value),
          ...hiddenEnds(shown),
        },
      }),
      series: [
        scatter("Complete", feasible.filter(hasPlace), palette.complete),
        ...(infeasible.length ? [scatter("Infeasible", infeasible.filter(hasPlace), palette.failed, { symbol: "triangle" })] : []),
        ...(pruned.length ? [scatter("Pruned", pruned.filter(hasPlace), palette.pruned, { symbol: "diamond" })] : []),
        ...(running.length
          ? [
              scatter("Running, latest report", running, "transparent", {
                symbolSize: 8,
                itemStyle: { color: "transparent", borderColor: palette.running, borderWidth: 2 },
              }),
            ]
          : []),
        {
          name: "Best so far",
          type: "line",
          step: "end",
          data: line,
          showSymbol: false,
          color: palette.accent,
          lineStyle: { width: 2 },
          z: 3,
          silent: true,
        },
        ...(line.some((point) => point[2] === winner?.[2])
          ? [
              {
                name: "Best",
                type: "scatter",
                data: [line.find((point) => point[2] === winner[2])],
                symbolSize: 12,
                z: 4,
                itemStyle: { color: palette.accent, borderColor: palette.background, borderWidth: 2 },
              },
            ]
          : []),
      ],
      dataZoom: [{ id: "x", type: "inside", xAxisIndex: 0, filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false }],
    };
  };

  const controls = html`
    ${
      canClip &&
      html`<${Choice} label="Range of values" value=${range} onChange=${setRange} options=${[
        ["typical", "Typical"],
        ["all", "All values"],
      ]} />`
    }
    ${
      positive &&
      html`<${Choice} label="Scale" value=${scale} onChange=${setScale} options=${[
        ["linear", "Linear"],
        ["log", "Log"],
      ]} />`
    }
    <${Choice} label="Horizontal axis" value=${by} onChange=${setBy} options=${[
      ["trial", "Trial"],
      ["time", "Time"],
    ]} />`;
  return html`<${Chart} title="Optimization history" summary=${summary} build=${build} controls=${controls}
    empty=${all.length + running.length ? null : reasonForNothing(trials)}
    onPoint=${({ data }) => open(data[2])}
    cursor=${() => [pointRow([...all, ...running].sort((a, b) => a[0] - b[0]), describePoint, open)]}
    table=${() => ({ columns: ["Trial", "State", objective.name], rows: ended.map(([, value, number]) => [number, trials.states[number], value]) })} />`;
}
