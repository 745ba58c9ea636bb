// One chart on the page: figure, title, one line of controls, caption, and the same data as a table. ECharts is loaded with the first chart.
// `build(palette)` gives ECharts' option; tooltips are DOM nodes made here, never HTML text, so no name can become markup.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { fileName, picture, save, toCsv } from "./chart_export.js";
import { CursorFrame } from "./chart_cursor.js";
import { hover, onHover, places, trialOf } from "./chart_hover.js";
import { Menu } from "./controls.js";
import { formatCount, formatNumber, formatParam } from "./format.js";

let library = null;
const loadLibrary = () =>
  (library ??= import("./vendor/echarts.js").catch((error) => {
    library = null;
    throw error;
  }));

// Components that a new option replaces whole; zoom and brushes are not among them, so they survive live updates.
const REPLACED = ["series", "xAxis", "yAxis", "parallelAxis"];

// Points above which they are small, and ECharts draws them as one cloud: an element a point takes a hundred times as long.
export const CLOUD = 1000;

// Of lines side by side, which differ by more than their colour.
const DASHES = ["solid", [8, 4], [2, 3], [8, 3, 2, 3]];
export const dash = (index) => DASHES[index % DASHES.length];

const EMPTY = 140; // height of a chart that has nothing to draw
const NAME_WIDTH = 220; // of an axis; longer names end in dots

export function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    dark: style.colorScheme.trim() === "dark",
    text: read("text"),
    muted: read("muted"),
    line: read("line"),
    faint: read("faint"),
    background: read("background"),
    raised: read("raised"),
    accent: read("accent"),
    complete: read("complete"),
    running: read("running"),
    pruned: read("pruned"),
    failed: read("failed"),
    waiting: read("waiting"),
    series: [1, 2, 3, 4, 5, 6].map((n) => read(`series-${n}`)),
    font: style.fontFamily,
  };
}

// An element with children; strings become text nodes.
export function node(tag, className, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

export function tip(title, rows) {
  return node(
    "div",
    "tip",
    node("strong", "", title),
    ...rows.map(([name, value, colour]) => {
      const swatch = node("i", "");
      if (colour) swatch.style.background = colour;
      return node("div", "tip-row", ...(colour ? [swatch] : []), node("span", "", name), node("b", "", value));
    }),
  );
}

export const tooltip = (palette, rest) => ({
  confine: true,
  transitionDuration: 0,
  padding: 0,
  backgroundColor: palette.raised,
  borderColor: palette.line,
  borderWidth: 1,
  extraCssText: "border-radius:6px;box-shadow:0 4px 16px rgba(0,0,0,.18)",
  textStyle: { color: palette.text, fontSize: 12 },
  ...rest,
});

export const axis = (palette, rest) => ({
  nameLocation: "middle",
  nameTextStyle: { color: palette.muted, fontSize: 12 },
  nameTruncate: { maxWidth: NAME_WIDTH },
  axisLine: { show: false },
  axisTick: { show: false },
  axisLabel: { color: palette.muted, fontSize: 11, hideOverlap: true },
  splitLine: { lineStyle: { color: palette.faint } },
  ...rest,
});

// A chart of ECharts that draws itself at once when told; when that is, `turns.js` decides for panels that follow a study. While somebody drags
// over it, it waits for the release: new axes would end the drag.
class Drawing {
  #series = [];
  #hasGrid = false;
  #isHeld = false;
  #isDue = false;

  constructor(library, readBuild) {
    this.library = library;
    this.readBuild = readBuild;
  }

  hold() {
    this.#isHeld = true;
  }

  release() {
    this.#isHeld = false;
    // Once ECharts has heard of the release, too.
    setTimeout(() => this.#isDue && !this.library.isDisposed() && this.redraw());
  }

  redraw() {
    this.#isDue = this.#isHeld;
    if (this.#isHeld) return;
    const palette = readPalette();
    const base = { animation: false, backgroundColor: "transparent", textStyle: { fontFamily: palette.font, color: palette.text } };
    // Not lazily: between a lazy setOption and its frame, a pointer event meets axes that are half replaced.
    const option = this.readBuild()(palette);
    this.#series = option.series;
    this.#hasGrid = Boolean(option.grid);
    this.library.setOption({ ...base, ...option }, { replaceMerge: REPLACED });
    this.library.getZr().flush();
  }

  // Highlights a trial wherever it is drawn; null: none.
  point(number) {
    this.library.dispatchAction({ type: "downplay" });
    if (number === null) return;
    for (const place of places(this.#series, number)) this.library.dispatchAction({ type: "highlight", ...place });
  }

  // Pixels of a place in units of the axes; null where it is not shown.
  locate(at) {
    const pixel = this.#series.length && this.#hasGrid ? this.library.convertToPixel({ gridIndex: 0 }, at) : null;
    return pixel && this.library.containPixel({ gridIndex: 0 }, pixel) ? pixel : null;
  }

  dispose() {
    this.library.dispose();
  }
}

// A brush along the horizontal axis is always at hand where ranges are wanted; it is taken away once it has said its range.
function takeRanges(library, latest) {
  const arm = () => library.dispatchAction({ type: "takeGlobalCursor", key: "brush", brushOption: { brushType: "lineX", brushMode: "single" } });
  library.on("brushEnd", ({ areas }) => {
    const range = areas[0]?.coordRange;
    library.dispatchAction({ type: "brush", areas: [] });
    if (range && range[1] > range[0]) latest.current.onRange(range);
  });
  arm();
}

function Canvas({ build, label, height, onPoint, onRange, cursor, on = {} }) {
  const box = useRef(null);
  const chart = useRef(null);
  const latest = useRef({});
  latest.current = { build, onPoint, onRange, on };
  const [failed, fail] = useState(false);
  useEffect(() => {
    let gone = false;
    let observer;
    let unsubscribe;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    loadLibrary()
      .then((echarts) => {
        if (gone) return;
        chart.current = new Drawing(echarts.init(box.current, null, { renderer: "canvas" }), () => latest.current.build);
        chart.current.library.on("click", (event) => latest.current.onPoint?.(event));
        chart.current.library.on("mouseover", (event) => hover(trialOf(event), box.current));
        chart.current.library.on("mouseout", () => hover(null, box.current));
        for (const name of Object.keys(on)) chart.current.library.on(name, (event) => latest.current.on[name]?.(event, chart.current.library));
        unsubscribe = onHover((number, source) => source === box.current || chart.current?.point(number));
        observer = new ResizeObserver(() => chart.current.library.resize());
        observer.observe(box.current);
        chart.current.redraw();
        if (onRange) takeRanges(chart.current.library, latest);
      })
      .catch(() => gone || fail(true));
    const redraw = () => chart.current?.redraw();
    const release = () => chart.current?.release();
    box.current.addEventListener("pointerdown", ({ button }) => button === 0 && chart.current?.hold(), true);
    for (const kind of ["pointerup", "pointercancel"]) addEventListener(kind, release, true);
    addEventListener("tuner:theme", redraw);
    dark.addEventListener("change", redraw);
    return () => {
      gone = true;
      for (const kind of ["pointerup", "pointercancel"]) removeEventListener(kind, release, true);
      removeEventListener("tuner:theme", redraw);
      dark.removeEventListener("change", redraw);
      observer?.disconnect();
      unsubscribe?.();
      chart.current?.dispose();
      chart.current = null;
    };
  }, []);
  useLayoutEffect(() => chart.current?.redraw());
  if (failed) return html`<p class="chart-note">The charts did not load; the server may have a newer version. Reload the page.</p>`;
  const size = { height: `${height}px` };
  if (!cursor) return html`<div class="canvas" ref=${box} role="img" aria-label=${label} style=${size}></div>`;
  return html`<${CursorFrame} label=${label} rows=${cursor} locate=${(at) => chart.current?.locate(at)}><div class="canvas" ref=${box} style=${size}></div><//>`;
}

// Trials' numbers are names: 12345, not 12,345.
function cellText(column, cell) {
  if (typeof cell !== "number") return formatParam(cell);
  if (column === "Trial") return String(cell);
  return Number.isSafeInteger(cell) ? formatCount(cell) : formatNumber(cell, 6);
}

function DataTable({ columns, rows }) {
  return html`
    <div class="chart-table" tabindex="0" role="region" aria-label="Data of the chart">
      <table><thead><tr>${columns.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
        <tbody>${rows.slice(0, 500).map((row) => html`<tr>${row.map((cell, i) => html`<td>${cellText(columns[i], cell)}</td>`)}</tr>`)}</tbody>
      </table>
      ${rows.length > 500 && html`<p class="muted">The first 500 of ${rows.length} rows.</p>`}
    </div>`;
}

export function Save({ title, build, table, height }) {
  const draw = async (event, format) => {
    const { clientWidth: width } = event.currentTarget.closest("figure");
    const palette = readPalette();
    save(fileName(title, format), await picture(await loadLibrary(), build(palette), palette, format, { width, height }));
  };
  return html`<${Menu} label="Save">
    ${build && html`<button class="small quiet" onClick=${(event) => draw(event, "png")}>Picture (PNG)</button>`}
    ${build && html`<button class="small quiet" onClick=${(event) => draw(event, "svg")}>Drawing (SVG)</button>`}
    <button class="small quiet" onClick=${() => save(fileName(title, "csv"), new Blob([toCsv(table())], { type: "text/csv" }))}>Data (CSV)</button>
  <//>`;
}

// `on` are handlers (event, chart) of further events of ECharts; `cursor()` gives the rows of points that keys walk through (chart_cursor.js);
// `table()` gives {columns, rows} of cells as they are (numbers, choices, undefined where one is absent), not as they are shown; `empty` is the reason why there is nothing to draw, if so.
export function Chart({ title, summary, build, table, controls, empty, height = 280, onPoint, onRange, cursor, on, wide = false }) {
  const [asTable, setAsTable] = useState(false);
  return html`
    <figure class=${wide ? "chart wide" : "chart"}>
      <div class="chart-head">
        <h2 title=${title}>${title}</h2>
        <div class="chart-controls">
          ${!empty && controls}
          ${!empty && html`<button class="small quiet" aria-pressed=${asTable} onClick=${() => setAsTable(!asTable)}>Table</button>`}
          ${!empty && table && html`<${Save} title=${title} build=${build} table=${table} height=${height} />`}
        </div>
      </div>
      ${
        empty
          ? html`<p class="chart-note" style=${{ minHeight: `${Math.min(height, EMPTY)}px` }}>${empty}</p>`
          : asTable
            ? html`<${DataTable} ...${table()} />`
            : html`<${Canvas} build=${build} label=${`${title}. ${summary}`} height=${height} onPoint=${onPoint} onRange=${onRange} cursor=${cursor} on=${on} />`
      }
      <figcaption>${!empty && summary}</figcaption>
    </figure>`;
}
