// What changes by itself, told to those who do not see it: at most every half a minute, and at once to whoever has just acted (WCAG 2.2.2, 4.1.3).
// Weakness: what a slow server answers to an act is told like any other change.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { isWatched } from "./turns.js";

const INTERVAL = 30_000;

export function Announced({ text }) {
  const [said, say] = useState(text);
  const at = useRef(performance.now());
  useEffect(() => {
    if (text === said) return undefined;
    const wait = isWatched() ? 0 : Math.max(0, at.current + INTERVAL - performance.now());
    const timer = setTimeout(() => {
      at.current = performance.now();
      say(text);
    }, wait);
    return () => clearTimeout(timer);
  }, [text, said]);
  return html`<span class="visually-hidden" role="status">${said}</span>`;
}
