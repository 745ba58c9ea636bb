// Learning curves: the best trials in colours, the running ones live, some others in grey for comparison.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { axis, Chart, tip, tooltip } from "../chart.js";
import { Choice, Select } from "../controls.js";
import { formatNumber } from "../format.js";
import { navigate, trialAddress } from "../router.js";

const NUM_BEST = 20;
const NUM_COLOURED = 5;
const NUM_RUNNING = 40;
const NUM_OTHERS = 40;
const LOSSES = /loss|error|rmse|mse|mae|nll|perplexity/i;

// Which trials to draw: {best, running, others}, each a list of numbers.
export function choose(trials, objective) {
  const best = trials.ranked(objective).slice(0, NUM_BEST);
  const running = trials.order({ states: ["RUNNING"], descending: true }).slice(0, NUM_RUNNING);
  const taken = new Set(best);
  const others = trials
    .order({ states: ["PRUNED", "COMPLETE"], descending: true })
    .filter((number) => !taken.has(number))
    .slice(0, NUM_OTHERS);
  return { best, running, others };
}

// Where to cut the axis so that the best curves fill it: a little beyond their worst point, if others lie far beyond that; else undefined.
export function worstOfBest(best, all, higherIsBetter) {
  if (!best.length) return undefined;
  const [low, high] = [Math.min(...best), Math.max(...best)];
  const [bound, worst] = higherIsBetter ? [low - 0.15 * (high - low), Math.min(...all)] : [high + 0.15 * (high - low), Math.max(...all)];
  return high > low && Math.abs(worst - bound) > 0.5 * (high - low) && (higherIsBetter ? worst < bound : worst > bound) ? bound : undefined;
}

export function lineSeries(name, data, colour, rest = {}) {
  return {
    name,
    type: "line",
    data,
    color: colour,
    showSymbol: data.length === 1,
    symbol: "circle",
    symbolSize: 5,
    lineStyle: { width: 1.5, color: colour },
    connectNulls: false,
    silent: false,
    triggerLineEvent: true,
    emphasis: { lineStyle: { width: 3 } },
    ...rest,
  };
}

export function LearningCurves({ feed, objective, study, version }) {
  const [metric, setMetric] = useState(objective.name);
  const [scale, setScale] = useState("linear");
  const [range, setRange] = useState("typical");
  const { trials, curves } = feed;
  const { best, running, others } = choose(trials, objective);
  useEffect(() => {
    feed.wantCurves([...running, ...best, ...others]);
  }, [feed, version]);

  const metrics = curves.metrics();
  const shown = metrics.includes(metric) || !metrics.length ? metric : metrics[0];
  const finite = (number) => curves.points(number, shown).map(([step, value]) => [step, Number.isFinite(value) ? value : null]);
  const groups = [
    ...others.map((number) => ({ number, kind: "other", data: finite(number) })),
    ...best.map((number, rank) => ({ number, kind: "best", rank, data: finite(number) })),
    ...running.map((number) => ({ number, kind: "running", data: finite(number) })),
  ].filter(({ data }) => data.length);
  const positive = groups.every(({ data }) => data.every(([, value]) => value === null || value > 0));
  const drawn = (kind) => groups.filter((group) => group.kind === kind).length;
  const summary = `${shown} by step: ${drawn("best")} best trials, ${drawn("running")} running, ${drawn("other")} others in grey`;
  const higherIsBetter = shown === objective.name ? objective.direction === "maximize" : !LOSSES.test(shown);
  const valuesOf = (wanted) => groups.filter(wanted).flatMap(({ data }) => data.map(([, value]) => value).filter(Number.isFinite));
  const bound = worstOfBest(
    valuesOf(({ kind }) => kind === "best"),
    valuesOf(() => true),
    higherIsBetter,
  );
  const clipping = bound !== undefined && range === "typical";
  const caption = `${summary}${clipping ? "; far worse values cut off" : ""}.`;

  const build = (palette) => {
    const series = groups.map(({ number, kind, rank, data }) => {
      const name = `${number}`;
      if (kind === "running")
        return lineSeries(name, data, palette.running, { z: 4, lineStyle: { width: 1.5, color: palette.running, type: [4, 2] } });
      if (kind === "best" && rank < NUM_COLOURED) {
        const colour = palette.series[rank];
        return lineSeries(name, data, colour, {
          z: 5,
          lineStyle: { width: 2, color: colour },
        });
      }
      return lineSeries(name, data, palette.waiting, {
        z: 2,
        lineStyle: { width: 1, color: palette.waiting, opacity: kind === "best" ? 0.6 : 0.28 },
      });
    });
    const kinds = new Map(
      groups.map(({ number, kind, rank }) => [
        `${number}`,
        kind === "best" ? `#${number}, rank ${rank + 1}` : `#${number}${kind === "running" ? ", running" : ""}`,
      ]),
    );
    return {
      grid: { left: 60, right: 20, top: 30, bottom: 40 },
      legend: {
        data: groups
          .filter(({ kind, rank }) => kind === "best" && rank < NUM_COLOURED)
          .map(({ number }) => ({ name: `${number}`, icon: "roundRect" })),
        formatter: (name) => `trial ${name}`,
        top: 0,
        left: 0,
        itemWidth: 12,
        itemHeight: 4,
        itemGap: 14,
        textStyle: { color: palette.muted, fontSize: 11 },
      },
      tooltip: tooltip(palette, {
        trigger: "axis",
        axisPointer: { lineStyle: { color: palette.line } },
        formatter: (found) => {
          const rows = found
            .filter(({ data }) => data[1] !== null)
            .sort((a, b) => (higherIsBetter ? b.data[1] - a.data[1] : a.data[1] - b.data[1]));
          const title = `Step ${rows[0]?.data[0] ?? ""}`;
          const lines = rows
            .slice(0, 8)
            .map(({ seriesName, data, color }) => [kinds.get(seriesName) ?? seriesName, formatNumber(data[1]), color]);
          return tip(title, rows.length > 8 ? [...lines, [`and ${rows.length - 8} more`, ""]] : lines);
        },
      }),
      xAxis: axis(palette, { type: "value", name: "step", nameGap: 24, splitLine: { show: false }, minInterval: 1, max: "dataMax" }),
      yAxis: axis(palette, {
        type: scale === "log" && positive ? "log" : "value",
        scale: true,
        ...(clipping ? { [higherIsBetter ? "min" : "max"]: bound } : {}),
        axisLabel: {
          color: palette.muted,
          fontSize: 11,
          formatter: (value) => formatNumber(value),
          ...(clipping ? { [higherIsBetter ? "showMinLabel" : "showMaxLabel"]: false } : {}),
        },
      }),
      series,
      dataZoom: [{ id: "x", type: "inside", filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false }],
    };
  };

  const controls = html`
    ${metrics.length > 1 && html`<${Select} label="Metric" value=${shown} onChange=${setMetric} options=${metrics.map((name) => [name, name])} />`}
    ${
      bound !== undefined &&
      html`<${Choice} label="Range of values" value=${range} onChange=${setRange} options=${[
        ["typical", "Typical"],
        ["all", "All values"],
      ]} />`
    }
    ${
      positive &&
      groups.length > 0 &&
      html`<${Choice} label="Scale" value=${scale} onChange=${setScale} options=${[
        ["linear", "Linear"],
        ["log", "Log"],
      ]} />`
    }`;
  return html`<${Chart} title="Learning curves" summary=${caption} build=${build} controls=${controls}
    empty=${groups.length ? null : "No reports yet: a trial's curve appears with its first report."}
    onPoint=${({ seriesName }) => navigate(trialAddress(study.id, seriesName))}
    table=${() => ({
      columns: ["Trial", "Kind", "Last step", `Last ${shown}`],
      rows: groups.map(({ number, kind, data }) => [number, kind, data.at(-1)[0], formatNumber(data.at(-1)[1], 6)]),
    })} />`;
}
