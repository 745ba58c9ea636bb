// The reports of one trial: a metric a chart, or all of one name's splits together (train_loss and val_loss share a chart).

import { html } from "../vendor/htm-preact.js";
import { axis, Chart, dash, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { formatNumber } from "../format.js";
import { lineSeries } from "./curves.js";

const SPLIT = /^(train|val|valid|validation|test)[_/.-]/;

// {loss: ["train_loss", "val_loss"], lr: ["lr"]}
export function groups(metrics) {
  const found = {};
  for (const name of metrics) (found[name.replace(SPLIT, "")] ??= []).push(name);
  return found;
}

// [[step, value on each line], ...] for all steps of the lines, Maps from step to value.
const bySteps = (lines) => [...new Set(lines.flatMap((values) => [...values.keys()]))].sort((a, b) => a - b).map((step) => [step, ...lines.map((values) => values.get(step))]);

export function TrialCurves({ curves, number, resumes, first }) {
  const metrics = curves
    .metrics()
    .filter((name) => curves.points(number, name).length)
    .sort((a, b) => (b === first) - (a === first));
  if (!metrics.length) return html`<${Chart} title="Reports" empty="No reports yet." height=${120} />`;
  return Object.entries(groups(metrics)).map(([name, members]) => {
    const lines = members.map((member) => [member, curves.points(number, member)]);
    const values = lines.flatMap(([, points]) => points.map(([, value]) => value));
    const start = Math.min(...resumes, ...lines.map(([, points]) => points[0][0])); // a copy goes on from where its parent was
    const thinned = curves.isThinned(number);
    const odd = values.filter((value) => !Number.isFinite(value)).length;
    const build = (palette) => ({
      grid: { left: 60, right: 20, top: members.length > 1 ? 30 : 14, bottom: 40 },
      legend: {
        show: members.length > 1,
        top: 0,
        left: 0,
        itemWidth: 28,
        itemHeight: 8,
        textStyle: { color: palette.muted, fontSize: 11 },
      },
      tooltip: tooltip(palette, {
        trigger: "axis",
        formatter: (found) =>
          tip(
            `Step ${found[0].data[0]}`,
            found.map(({ seriesName, data, color }) => [seriesName, formatNumber(data[1], 6), color]),
          ),
      }),
      xAxis: axis(palette, { type: "value", name: "step", nameGap: 24, splitLine: { show: false }, minInterval: 1, min: start, max: "dataMax" }),
      yAxis: axis(palette, {
        type: "value",
        scale: true,
        axisLabel: { color: palette.muted, fontSize: 11, formatter: (value) => formatNumber(value) },
      }),
      series: lines.map(([member, points], i) =>
        lineSeries(
          member,
          points.map(([step, value]) => [step, Number.isFinite(value) ? value : null]),
          palette.series[i % palette.series.length],
          {
            lineStyle: { width: 2, color: palette.series[i % palette.series.length], type: dash(i) },
            triggerLineEvent: false,
            ...(i === 0 && resumes.length
              ? {
                  markLine: {
                    symbol: "none",
                    silent: true,
                    label: { show: false },
                    lineStyle: { color: palette.waiting, type: "dashed", opacity: 0.7 },
                    data: resumes.map((step) => ({ xAxis: step })),
                  },
                }
              : {}),
          },
        ),
      ),
    });
    const summary = lines.map(([member, points]) => `${member} ${formatNumber(points.at(-1)[1])} at step ${points.at(-1)[0]}`).join(", ");
    return html`<${Chart} key=${name} title=${name} summary=${`${summary}${odd ? `; ${odd} of ${values.length} values are not finite and left out` : ""}${thinned ? "; thinned to its extremes" : ""}${resumes.length ? "; dashed: resumed" : ""}.`} build=${build} height=${230}
      empty=${odd === values.length ? `No report is a finite number: ${summary}.` : null}
      cursor=${() =>
        lines.map(([member, points]) =>
          pointRow(
            points.filter(([, value]) => Number.isFinite(value)),
            ([step, value]) => `${member} ${formatNumber(value, 6)} at step ${step}`,
          ),
        )}
      table=${() => ({ columns: [thinned ? "Step (thinned)" : "Step", ...members], rows: bySteps(lines.map(([, points]) => new Map(points))) })} />`;
  });
}
