// A cursor on the points of a chart for those who do not point: arrow keys move it, a live region says what it is on, Enter opens its trial.
// A chart gives rows (`pointRow`) of points in the units of its axes: left and right go along a row, up and down to the place in the next row
// that lies nearest. Admitted weakness: a point outside the range shown is read, but no ring stands on it; nor on lines across parallel axes, which are lit up instead.

import { html, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { hover } from "./chart_hover.js";

const PAGE = 10;

const nearest = (points, x) => points.reduce((best, point, i) => (Math.abs(point[0] - x) < Math.abs(points[best][0] - x) ? i : best), 0);

// Where a key leads from `place` ({row, point}, null before the first key); null for a key that leads nowhere.
export function step(rows, place, key) {
  if (!rows.length) return null;
  const last = (row) => rows[row].points.length - 1;
  const moves = { ArrowRight: 1, ArrowLeft: -1, PageDown: PAGE, PageUp: -PAGE, Home: -Infinity, End: Infinity };
  const turns = { ArrowDown: 1, ArrowUp: -1 };
  if (!(key in moves) && !(key in turns)) return null;
  if (!place) return { row: 0, point: key === "End" ? last(0) : 0 };
  const row = Math.min(place.row, rows.length - 1);
  const point = Math.min(place.point, last(row));
  if (key in moves) return { row, point: Math.max(0, Math.min(last(row), point + moves[key])) };
  const next = Math.max(0, Math.min(rows.length - 1, row + turns[key]));
  return next === row ? { row, point } : { row: next, point: nearest(rows[next].points, rows[row].points[point][0]) };
}

// One row of points [x, y, ...] in the order given. `describe(point)` is what is said of one, asked for only then: there may be 100,000. `open`, where
// the third of a point is a trial's number, leads to it.
export const pointRow = (points, describe, open) => ({ points, describe, open });

// The frame around a chart's canvas. `locate(at)` gives pixels within it, null where the chart does not show the place.
export function CursorFrame({ label, rows, locate, children }) {
  const frame = useRef(null);
  const ring = useRef(null);
  const [held, hold] = useState(null);
  const made = useRef({ rows: null, given: [] });
  // Made once for each drawing of the chart, with the first key.
  const given = () => {
    if (made.current.rows !== rows) made.current = { rows, given: rows().filter(({ points }) => points.length) };
    return made.current.given;
  };
  useLayoutEffect(() => {
    const pixel = held && locate(held.at);
    ring.current.hidden = !pixel;
    if (pixel) ring.current.style.translate = `${pixel[0]}px ${pixel[1]}px`;
  });
  const onKeyDown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      hold(null);
      hover(null, frame.current);
      return;
    }
    if (event.key === "Enter" && held?.open) {
      event.preventDefault();
      held.open();
      return;
    }
    const place = step(given(), held, event.key);
    if (!place) return;
    event.preventDefault();
    const { points, describe, open } = given()[place.row];
    const point = points[place.point];
    hold({ ...place, at: point.slice(0, 2), text: `${describe(point)}.`, open: open && (() => open(point[2])) });
    if (open) hover(point[2], frame.current);
  };
  return html`
    <div class="chart-frame" ref=${frame} role="application" tabindex="0" aria-roledescription="chart" aria-label=${`${label} Arrow keys read its points.`}
      onKeyDown=${onKeyDown} onBlur=${() => hover(null, frame.current)}>
      ${children}<i class="chart-ring" ref=${ring} hidden aria-hidden="true"></i>
      <output class="chart-point" aria-live="polite">${held?.text}</output>
    </div>`;
}
