// What a view shows when it has nothing to show: why, and what to do next.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { isOutage } from "./api.js";

// Placeholder while loading; blank for the first moments, so that quick answers do not flicker.
export function Loading({ rows = 6 }) {
  const [shown, show] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => show(true), 150);
    return () => clearTimeout(timer);
  }, []);
  return (
    shown && html`<div class="skeleton" role="status" aria-label="Loading">${Array.from({ length: rows }, () => html`<div></div>`)}</div>`
  );
}

// `heading`: "h1" where this is all that the page shows.
export function Empty({ title, children, heading = "h2" }) {
  return html`<div class="empty"><${heading}>${title}<//>${children}</div>`;
}

export function Failure({ error, what, heading = "h1" }) {
  const waiting = isOutage(error);
  return html`
    <div class="empty" role="alert">
      <${heading}>${waiting ? "The server does not answer" : `No ${what} here`}<//>
      <p>${waiting ? "Trying again every second or two." : error.message}</p>
    </div>`;
}

// In place of what a card has to show, while there is no answer yet: why.
export function Pending({ error, rows }) {
  if (!error) return html`<${Loading} rows=${rows} />`;
  return html`<p class="chart-note" role="status">${isOutage(error) ? "The server does not answer. It is asked again every second or two." : error.message}</p>`;
}

// One line above the content: what an action answered when it failed.
export function Banner({ children, onClose }) {
  return html`<div class="banner" role="alert"><span>${children}</span><button class="quiet" onClick=${onClose}>Dismiss</button></div>`;
}
