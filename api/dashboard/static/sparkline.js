// A small line in a row of a table: no axes, one sentence for who cannot see it.

import { html } from "./vendor/htm-preact.js";

const [WIDTH, HEIGHT, EDGE] = [96, 24, 2];

// `points`: [[x, y], ...] by x, at least one; `range`: the ends of y, else those of the points; `steps`: holds each value until the next.
export function Sparkline({ points, label, range, steps = false }) {
  const finite = points.filter(([, y]) => Number.isFinite(y));
  if (!finite.length) return html`<span class="muted">–</span>`;
  const ys = finite.map(([, y]) => y);
  const [low, high] = range ?? [Math.min(...ys), Math.max(...ys)];
  const [from, to] = [finite[0][0], finite.at(-1)[0]];
  const at = ([x, y]) => [
    EDGE + ((WIDTH - 2 * EDGE) * (x - from)) / Math.max(to - from, 1),
    HEIGHT - EDGE - (high > low ? ((HEIGHT - 2 * EDGE) * (Math.min(high, Math.max(low, y)) - low)) / (high - low) : HEIGHT / 2 - EDGE),
  ];
  const places = finite.map(at).map(([x, y]) => [x.toFixed(1), y.toFixed(1)]);
  const path = places.map(([x, y], i) => (i === 0 ? `M${x} ${y}` : steps ? `H${x}V${y}` : `L${x} ${y}`)).join("");
  const [x, y] = places.at(-1);
  return html`<svg class="spark" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${label}>
    <path d=${places.length > 1 ? path : `M${EDGE} ${y}H${WIDTH - EDGE}`} /><circle cx=${x} cy=${y} r="2" /></svg>`;
}
