// Parallel coordinates: one line a complete trial across its parameters to its value, coloured by rank or by what one likes. Dragging along an
// axis filters the whole page. A parameter absent by its condition is skipped by the line. Admitted weakness: beyond `maxLines` the best half
// and an even sample of the rest are drawn; the caption counts them.

import { html, useRef } from "../vendor/htm-preact.js";
import { Chart, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { Settings } from "../chart_settings.js";
import { formatCount, formatDuration, formatNumber, formatParam } from "../format.js";
import { navigate, trialAddress } from "../router.js";
import { selected, termName } from "../selection.js";
import { AxesPanel, parameterAxis, useAxes } from "./parallel_axes.js";
import { isTypical, spread } from "./typical.js";
import { standout } from "./viridis.js";

const MAX_LINES = 1000;
const MAX_LABEL = 14; // letters
const MANY = 400; // above this the lines are thin and straight

// The best half of `most`, and an even sample of the rest.
export function sample(ranked, most = MAX_LINES) {
  if (ranked.length <= most) return ranked;
  const half = Math.floor(most / 2);
  const [best, rest] = [ranked.slice(0, half), ranked.slice(half)];
  return best.concat(Array.from({ length: most - half }, (_, i) => rest[Math.floor((i * rest.length) / (most - half))]));
}

// Quality 0 to 1 of each of `shown` by the column that colours: its rank among them, 1 the best or greatest; undefined where it has none.
function qualities(feed, shown, colour) {
  const { trials, objectives } = feed;
  const last = Math.max(1, shown.length - 1);
  if (!colour) return new Map(shown.map((number, rank) => [number, 1 - rank / last]));
  const column = (number) => (colour === "duration" ? trials.duration(number) : (trials.values[colour]?.[number] ?? trials.params[colour]?.[number]));
  const given = shown.filter((number) => column(number) !== undefined);
  const levels = [...new Set(given.map(column))].sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
  if (objectives.find(({ name }) => name === colour)?.direction === "minimize") levels.reverse();
  const place = new Map(levels.map((level, i) => [level, levels.length > 1 ? i / (levels.length - 1) : 1]));
  return new Map(given.map((number) => [number, place.get(column(number))]));
}

const shortened = (text) => (text.length > MAX_LABEL ? `${text.slice(0, MAX_LABEL)}…` : text);

// Its background is as wide as the text, so that it hides no more of the lines than it must.
const axisLabel = (palette) => ({
  color: palette.text,
  fontSize: 11,
  backgroundColor: palette.raised,
  padding: [1, 3],
  borderRadius: 3,
  formatter: (value) => shortened(formatParam(typeof value === "string" ? value : Number(value))),
  showMinLabel: true,
  showMaxLabel: true,
  hideOverlap: true,
});

const LEFT = 50;

export function ParallelCoordinates({ feed, objective, study, filter, maxLines = MAX_LINES }) {
  const { trials } = feed;
  const ranked = trials.drawable(objective);
  const maximize = objective.direction === "maximize";
  const value = (number) => trials.value(objective.name, number);
  const { range, outside } = spread(trials, objective);
  const typical = outside ? ranked.filter((number) => isTypical(range, value(number))) : ranked;
  const shown = sample(typical, maxLines);
  const axes = useAxes(trials, shown);
  const { names } = axes;
  const total = trials.paramNames().length;
  const summary =
    `${formatCount(shown.length)}${shown.length < ranked.length ? ` of ${formatCount(ranked.length)}` : ""} complete trials` +
    `${outside && ` (left out: ${outside})`}` +
    `${names.length < total ? `, ${names.length} of ${total} parameters` : ""}; ` +
    `${axes.colour ? `coloured by ${axes.colour}` : "the better a trial, the stronger its line stands out"}.${filter ? " Drag along an axis to filter." : ""}`;
  const parameterAxes = () => names.map((name) => parameterAxis(feed, name, axes));
  // The stretch dragged over goes with the axes that it was dragged on: they are replaced by others of the same look, by another id, with the lines
  // that are left.
  const drags = useRef(0);

  const build = (palette) => {
    const found = parameterAxes();
    const many = shown.length > MANY;
    const quality = qualities(feed, shown, axes.colour);
    // Choices by their places: two may look the same.
    const places = found.map(({ choices }) => choices && new Map(choices.map((choice, place) => [choice, place])));
    const nameStyle = { nameTextStyle: { color: palette.text, fontSize: 11 }, nameTruncate: { maxWidth: 2 * LEFT } };
    // Names of axes that run the other way would stand below: they are kept above.
    const named = (axis) => ({ ...axis, ...nameStyle, nameLocation: axis.inverse ? "start" : "end" });
    const objectiveAxis = { id: `${drags.current}:`, name: objective.name, type: "value", scale: true, inverse: !maximize };
    return {
      parallel: {
        left: LEFT,
        right: 70,
        top: 34,
        bottom: 20,
        parallelAxisDefault: {
          realtime: false,
          nameGap: 14,
          axisLine: { lineStyle: { color: palette.waiting } },
          axisTick: { show: false },
          axisLabel: axisLabel(palette),
          areaSelectStyle: { width: 20, borderColor: palette.accent, color: palette.accent, opacity: 0.2 },
        },
      },
      parallelAxis: [...found.map((axis) => ({ ...axis, id: `${drags.current}:${axis.name}` })), objectiveAxis].map((axis, dim) => ({ dim, ...named(axis), ...(dim === names.length ? { nameTextStyle: { color: palette.text, fontSize: 11, fontWeight: 600 } } : {}) })),
      tooltip: tooltip(palette, {
        trigger: "item",
        formatter: ({ data: { number } }) =>
          tip(`Trial ${number}`, [
            [objective.name, formatNumber(value(number), 6)],
            ...names.filter((name) => trials.params[name][number] !== undefined).map((name) => [name, formatParam(trials.params[name][number])]),
            ["took", formatDuration(trials.duration(number))],
          ]),
      }),
      series: [
        {
          type: "parallel",
          z: 0,
          // So many lines a frame: the page answers meanwhile.
          progressive: 250,
          progressiveThreshold: 400,
          inactiveOpacity: 0.03,
          activeOpacity: 0.9,
          smooth: many ? 0 : 0.12,
          emphasis: { lineStyle: { width: 3.5, opacity: 1, color: palette.accent } },
          data: shown
            .map((number, rank) => {
              const share = quality.get(number);
              const line = share === undefined ? { color: palette.waiting, opacity: 0.1 } : { color: standout(palette, share), opacity: axes.colour ? (many ? 0.25 : 0.6) : 0.06 + (many ? 0.5 : 0.72) * share ** (many ? 6 : 3) };
              const cells = names.map((name, dim) => {
                const cell = trials.params[name][number];
                if (cell === undefined) return "-";
                return places[dim] ? (places[dim].get(cell) ?? "-") : cell;
              });
              return { number, value: [...cells, value(number)], lineStyle: { ...line, width: rank < 3 && !axes.colour ? 2.5 : many ? 1 : 1.2 } };
            })
            .reverse(),
        },
      ],
    };
  };

  const open = (number) => navigate(trialAddress(study.id, number));
  const describeLine = ([rank, found, number]) =>
    `Trial ${number}, rank ${rank + 1}: ${objective.name} ${formatNumber(found)}${names.filter((name) => trials.params[name][number] !== undefined).map((name) => `, ${name} ${formatParam(trials.params[name][number])}`).join("")}`;

  const onSelect = ({ parallelAxisId, intervals }, library) => {
    if (!intervals?.length || !parallelAxisId) return;
    const name = parallelAxisId.slice(parallelAxisId.indexOf(":") + 1);
    const axis = parameterAxes().find((one) => one.name === name) ?? {};
    const range = [Math.min(...intervals[0]), Math.max(...intervals[0])];
    const wanted = selected(filter.text, name ? termName(name, "params", feed) : termName(objective.name, "values", feed), axis, range);
    if (wanted === filter.text) library.dispatchAction({ type: "axisAreaSelect", parallelAxisId, intervals: [] });
    else {
      drags.current += 1;
      filter.set(wanted);
    }
  };
  const controls = html`<${Settings}><${AxesPanel} feed=${feed} axes=${axes} objectives=${[objective, ...feed.objectives.filter((other) => other !== objective)]} /><//>`;
  return html`<${Chart} title="Parallel coordinates" wide=${true} height=${300} summary=${summary} build=${build} controls=${controls}
    empty=${shown.length < 2 ? "Needs at least two complete trials." : names.length ? null : "No complete trial has a parameter."}
    on=${filter ? { axisareaselected: onSelect } : {}}
    onPoint=${({ data }) => open(data.number)}
    cursor=${() => [pointRow(shown.map((number, rank) => [rank, value(number), number]), describeLine, open)]}
    table=${() => ({
      columns: ["Trial", ...names, objective.name],
      rows: shown.map((number) => [number, ...names.map((name) => trials.params[name][number]), value(number)]),
    })} />`;
}
