// Who may work next: panels and charts take turns, so that what a click has changed is seen at once and the rest follows frame by frame, the panel
// under the pointer first, those in sight next. Changes that come by themselves are shown in at most a tenth of the time; whoever has just
// pressed, typed or dragged does not wait for that.

import { html, useLayoutEffect, useReducer, useRef } from "./vendor/htm-preact.js";

const SHARE = 0.1;
const LONGEST_PAUSE = 3_000;
const ATTENTION = 1_000; // milliseconds after an input in which nothing waits for its share
const FRAME = 12; // milliseconds of work in one frame after which the next turn waits for another

let lastInput = -Infinity;
let earliest = 0;
let frame = null;
let timer = null;
const waiting = new Set();

for (const kind of ["pointerup", "click", "keydown", "input", "popstate"]) addEventListener(kind, () => (lastInput = performance.now()), true);

// Whether somebody has just pressed, typed or dragged.
export const isWatched = () => performance.now() - lastInput < ATTENTION;

// Milliseconds to wait before showing a change that came by itself.
const pause = () => (isWatched() ? 0 : Math.max(0, earliest - performance.now()));

// So many milliseconds were used up.
function spend(milliseconds) {
  const now = performance.now();
  earliest = Math.min(now + LONGEST_PAUSE, Math.max(now, earliest) + milliseconds / SHARE);
}

function rank({ box }) {
  if (box.matches(":hover")) return 0;
  const { top, bottom } = (box.firstElementChild ?? box).getBoundingClientRect();
  return bottom > 0 && top < innerHeight ? 1 : 2;
}

async function work() {
  const started = performance.now();
  const ranked = [...waiting].map((entry) => [rank(entry), entry]).sort(([a], [b]) => a - b);
  for (const [, entry] of ranked) {
    if (performance.now() - started > FRAME || !waiting.delete(entry)) continue;
    const before = performance.now();
    entry.work();
    await null; // Preact makes what has changed in a microtask, still within this frame
    spend(performance.now() - before);
  }
  frame = null;
  schedule();
}

function schedule() {
  if (!waiting.size || frame !== null) return;
  clearTimeout(timer);
  const wait = pause();
  if (wait > 0) timer = setTimeout(schedule, wait);
  else frame = requestAnimationFrame(work);
}

function queue(entry) {
  waiting.add(entry);
  schedule();
}

// A panel that is made anew when its turn comes; `children` is a function that makes it. The first time it is made at once.
export function InTurn({ children }) {
  const box = useRef(null);
  const [turn, next] = useReducer((count) => count + 1, 0);
  const latest = useRef(null);
  const made = useRef({ turn: -1, panel: null });
  latest.current = children;
  const isDue = made.current.turn !== turn;
  if (isDue) made.current = { turn, panel: latest.current() };
  const entry = useRef(null);
  useLayoutEffect(() => {
    entry.current = { box: box.current, work: next };
    return () => waiting.delete(entry.current);
  }, []);
  useLayoutEffect(() => {
    if (!isDue) queue(entry.current);
  });
  return html`<div ref=${box} class="turn">${made.current.panel}</div>`;
}
