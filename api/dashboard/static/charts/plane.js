// Two parameters against each other: cells coloured by the best value found in them, contours of the value between them, or ranks; trials are dots.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { dimension, dimensionAxis } from "../axes.js";
import { Chart, tip, tooltip } from "../chart.js";
import { pointRow } from "../chart_cursor.js";
import { pointed } from "../chart_hover.js";
import { Choice, Select } from "../controls.js";
import { extent } from "../extent.js";
import { formatCount, formatNumber, formatParam } from "../format.js";
import { navigate, trialAddress, useQuery } from "../router.js";
import { levels, surface, toPath } from "./surface.js";
import { standout } from "./viridis.js";

const CELLS = 16;
const MAX_DOTS = 2000;
const MAX_SURFACE = 600; // trials that a surface is estimated from
const MIN_SURFACE = 6;

// Edges of the cells along an axis: equal steps (of the logarithm where the axis has one), or one cell a choice.
export function edges(dim, places) {
  if (dim.categorical) return Array.from({ length: dim.choices.length + 1 }, (_, index) => index - 0.5);
  const scale = dim.log ? Math.log10 : (x) => x;
  const back = dim.log ? (x) => 10 ** x : (x) => x;
  // A parameter with steps has few places, each used again and again: they become the cells.
  const distinct = [...new Set(places)].map(scale).sort((a, b) => a - b);
  if (distinct.length > 1 && distinct.length <= CELLS && places.length >= 3 * distinct.length) {
    const middles = distinct.slice(1).map((place, i) => (place + distinct[i]) / 2);
    return [2 * distinct[0] - middles[0], ...middles, 2 * distinct.at(-1) - middles.at(-1)].map(back);
  }
  const [low, high] = extent(places).map(scale);
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

// The same array as before while the same trials lie at the same places: to compare them takes less than what is worked out of them.
function useKept(points) {
  const kept = useRef(points);
  const isSame = kept.current.length === points.length && points.every(([x, y, number], i) => [x, y, number].every((part, at) => part === kept.current[i][at]));
  if (!isSame) kept.current = points;
  return kept.current;
}

// Contours of the objective over the plane, from the worst level to the best: {lines: [{level, path(place)}], extents}, null where there are none
// to draw; and whether what draws them did not load, which is tried again with the next change.
function useContours(wanted, dims, given, value, maximize, mark) {
  const [library, load] = useState(null);
  const [isMissing, miss] = useState(false);
  const points = useKept(given);
  useEffect(() => {
    if (!wanted || library) return;
    import("../vendor/d3-contour.js")
      .then(({ contours }) => load(() => contours))
      .catch(() => miss(true));
  }, [wanted, library, points]);
  const found = useMemo(() => {
    if (!wanted || !library || points.length < MIN_SURFACE) return null;
    const extents = [0, 1].map((at) => span(dims[at], points.map((point) => point[at])));
    const stride = Math.max(1, Math.ceil(points.length / MAX_SURFACE));
    const sign = maximize ? 1 : -1;
    // Far worse values would leave all levels but one to themselves: they count as the worst of the best nine tenths.
    const bound = value(points[Math.floor(0.9 * (points.length - 1))][2]);
    const placed = points
      .filter((_, rank) => rank % stride === 0)
      .map(([x, y, number]) => [extents[0].share(x), extents[1].share(y), sign * value(number) < sign * bound ? sign * bound : sign * value(number)]);
    const field = surface(placed);
    const lines = library().size([field.side, field.side]).thresholds(levels(field))(field.values);
    return { extents, lines: lines.map((line) => ({ level: sign * line.value, path: (place) => toPath(line, field.side, place) })) };
  }, [wanted, library, points, mark]);
  return [found, isMissing && !library];
}

// What an axis spans: its ends, and the share from 0 to 1 at which a place lies.
function span(dim, places) {
  const scale = dim.log ? Math.log10 : (x) => x;
  const [low, high] = extent(places);
  return { low, high, share: (place) => (scale(place) - scale(low)) / (scale(high) - scale(low)) };
}

// The axis from the first edge to the last, so that no cell is cut.
function whole(palette, dim, bounds) {
  if (dim.categorical) return {};
  const label = { color: palette.muted, fontSize: 11, hideOverlap: true, formatter: (value) => formatNumber(value), showMinLabel: false, showMaxLabel: false };
  return { min: bounds[0], max: bounds.at(-1), axisLabel: label };
}

// At most MAX_DOTS of the points, evenly by rank, the best last so that they are drawn on top.
function sampled(points) {
  const stride = Math.max(1, Math.ceil(points.length / MAX_DOTS));
  return points.filter((_, rank) => rank % stride === 0).reverse();
}

export function Plane({ feed, study, objective, shares }) {
  const { trials } = feed;
  const names = trials.paramNames().sort((a, b) => (shares?.[b] ?? 0) - (shares?.[a] ?? 0));
  const [across, setAcross] = useQuery("plane-x");
  const [up, setUp] = useQuery("plane-y");
  const [mode, setMode] = useQuery("plane", "cells");
  const first = names.includes(across) ? across : names.find((name) => name !== up);
  const second = names.includes(up) && up !== first ? up : names.find((name) => name !== first);
  const dims = first && second ? [dimension(feed, first), dimension(feed, second)] : null;
  // In the order of their rank: the first in a cell is its best.
  const points = !dims
    ? []
    : trials
        .drawable(objective)
        .map((number) => [dims[0].at(number), dims[1].at(number), number])
        .filter(([x, y]) => x !== undefined && y !== undefined)
        .map((point, rank) => [...point, rank]);
  const best = points[0];
  // Between choices there is nothing to draw a line through.
  const continuous = dims?.every((dim) => !dim.categorical && new Set(points.map((point) => dim.at(point[2]))).size > 2) && points.length >= MIN_SURFACE;
  const shown = mode === "contours" && !continuous ? "cells" : mode;
  const asRanks = shown === "ranks";
  const value = (number) => trials.value(objective.name, number);
  const [contours, isMissing] = useContours(shown === "contours", dims, points, value, objective.direction === "maximize", [first, second, objective.name].join());
  const about = {
    cells: "each cell shows the best value in it, the better the more it stands out",
    ranks: "each coloured by its rank, the better the more it stands out",
    contours: isMissing
      ? "what draws contours did not load from the server; it is tried again with the next change"
      : `lines join places of equal ${objective.name}, estimated from the trials near them${contours ? `: ${contours.lines.map(({ level }) => formatNumber(level, 3)).join(", ")}` : ""}`,
  };
  const summary = best
    ? `${formatCount(points.length)} complete trials; ${about[shown] ?? about.cells}. Best: ${first} ${formatParam(trials.params[first][best[2]])}, ${second} ${formatParam(trials.params[second][best[2]])}.`
    : "";
  const build = (palette) => {
    const lines = shown === "contours" ? (contours?.lines ?? []) : [];
    const ends = shown === "contours" && contours ? contours.extents.map(({ low, high }) => ({ min: low, max: high })) : [{}, {}];
    const columns = edges(dims[0], points.map(([x]) => x));
    const rows = edges(dims[1], points.map(([, y]) => y));
    const last = Math.max(1, points.length - 1);
    // The best last, so that they lie on top.
    const dots = sampled(points).map((point) => (asRanks ? { value: point, number: point[2], itemStyle: { color: standout(palette, 1 - point[3] / last), borderWidth: 0, opacity: 0.9 } } : point));
    const trialAt = (data) => data.number ?? data[2];
    const describe = (number, more) =>
      tip(`Trial ${number}`, [
        [first, formatParam(trials.params[first][number])],
        [second, formatParam(trials.params[second][number])],
        [objective.name, formatNumber(trials.value(objective.name, number), 6)],
        ...more,
      ]);
    return {
      grid: { left: 76, right: 16, top: 8, bottom: 44 },
      tooltip: tooltip(palette, {
        trigger: "item",
        formatter: ({ data, seriesName }) => (seriesName === "cells" ? describe(data[3], [["trials in this cell", formatCount(data[4])]]) : describe(trialAt(data), [])),
      }),
      xAxis: dimensionAxis(palette, dims[0], { name: first, nameGap: 26, ...whole(palette, dims[0], columns), ...ends[0] }),
      yAxis: dimensionAxis(palette, dims[1], { name: second, nameGap: 58, ...whole(palette, dims[1], rows), ...ends[1] }),
      series: [
        {
          name: "cells",
          type: "custom",
          data: shown === "cells" ? cells(points, columns, rows) : [],
          encode: { x: -1, y: -1 },
          renderItem: (_, api) => {
            const [column, row] = [api.value(0), api.value(1)];
            const [left, top] = api.coord([columns[column], rows[row + 1]]);
            const [right, bottom] = api.coord([columns[column + 1], rows[row]]);
            return { type: "rect", shape: { x: left, y: top, width: Math.max(1, right - left - 1), height: Math.max(1, bottom - top - 1), r: 2 }, style: { fill: standout(palette, api.value(2)), opacity: 0.85 } };
          },
        },
        {
          name: "contours",
          type: "custom",
          silent: true,
          data: lines.map((_, i) => [i]),
          encode: { x: -1, y: -1 },
          renderItem: (_, api) => {
            const i = api.value(0);
            const [x, y] = contours.extents;
            const [left, bottom] = api.coord([x.low, y.low]);
            const [right, top] = api.coord([x.high, y.high]);
            const d = lines[i].path(([across_, up_]) => [left + across_ * (right - left), bottom + up_ * (top - bottom)]);
            return { type: "path", shape: { pathData: d }, style: { fill: standout(palette, lines.length > 1 ? i / (lines.length - 1) : 1), stroke: palette.background, lineWidth: 1, opacity: 0.85 } };
          },
        },
        {
          name: "trials",
          type: "scatter",
          data: dots,
          symbolSize: asRanks ? 7 : 4,
          emphasis: pointed(palette),
          itemStyle: { color: palette.background, borderColor: palette.text, borderWidth: 1, opacity: 0.6 },
        },
        { name: "best", type: "scatter", data: best ? [best] : [], symbolSize: 13, z: 5, itemStyle: { color: palette.background, borderColor: palette.text, borderWidth: 3 } },
      ],
    };
  };
  const options = names.map((name) => [name, name]);
  const controls = html`
    <${Select} label="Horizontal parameter" value=${first} options=${options} onChange=${(name) => {
      if (name === second) setUp(first);
      setAcross(name);
    }} />
    <${Select} label="Vertical parameter" value=${second} options=${options} onChange=${(name) => {
      if (name === first) setAcross(second);
      setUp(name);
    }} />
    <${Choice} label="What the plane shows" value=${shown} onChange=${setMode} options=${[
      ["cells", "Best"],
      ...(continuous ? [["contours", "Contours"]] : []),
      ["ranks", "Ranks"],
    ]} />`;
  const open = (number) => navigate(trialAddress(study.id, number));
  const describePoint = ([, , number, rank]) =>
    `Trial ${number}, rank ${rank + 1} of ${points.length}: ${first} ${formatParam(trials.params[first][number])}, ${second} ${formatParam(trials.params[second][number])}, ${objective.name} ${formatNumber(value(number))}`;
  return html`<${Chart} title="Two parameters" summary=${summary} build=${build} controls=${names.length > 1 && controls}
    empty=${points.length > 1 ? null : names.length < 2 ? "Needs two parameters." : "Needs two complete trials that have both parameters."}
    onPoint=${({ data, seriesName }) => open(seriesName === "cells" ? data[3] : (data.number ?? data[2]))}
    cursor=${() => [pointRow(points, describePoint, open)]}
    table=${() => ({
      columns: ["Trial", first, second, objective.name],
      rows: points.map(([, , number]) => [number, trials.params[first][number], trials.params[second][number], value(number)]),
    })} />`;
}
