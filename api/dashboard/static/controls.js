// Small controls: theme switch, copy button, segmented choice, menu, confirmation, relative time.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { copyText } from "./clipboard.js";
import { isAway } from "./connection.js";
import { formatAgo } from "./format.js";

const EDGE = 8; // pixels between a menu and the edge of the window
const THEMES = { system: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
const THEME_ICONS = {
  system: html`<path d="M8 2.5a5.5 5.5 0 100 11z" class="solid" /><circle cx="8" cy="8" r="5.5" />`,
  light: html`<circle cx="8" cy="8" r="3" /><path d="M8 1.5v1.5M8 13v1.5M1.5 8H3M13 8h1.5M3.4 3.400l1 1M11.6 11.600l1 1M3.4 12.600l1-1M11.6 4.400l1-1" />`,
  dark: html`<path d="M13 9.5A5.5 5.5 0 016.5 3a5.5 5.5 0 106.5 6.5z" />`,
};

export function ThemeSwitch() {
  const [theme, set] = useState(document.documentElement.dataset.theme);
  const change = () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(theme) + 1) % names.length];
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("tuner-theme", next);
    } catch {
      /* private mode: for this page only */
    }
    dispatchEvent(new Event("tuner:theme"));
    set(next);
  };
  return html`
    <button class="quiet square" onClick=${change} title=${THEMES[theme]} aria-label=${THEMES[theme]}>
      <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">${THEME_ICONS[theme]}</svg>
    </button>`;
}

// `text`: what is copied, or a function that gives it.
export function CopyButton({ text, label = "Copy" }) {
  const [said, say] = useState(null);
  const copy = async () => {
    const copied = copyText(typeof text === "function" ? text() : text);
    say(
      await copied.then(
        () => "Copied",
        () => "Not allowed here",
      ),
    );
    setTimeout(() => say(null), 1500);
  };
  return html`<button class="small" onClick=${copy} aria-live="polite">${said ?? label}</button>`;
}

export function Command({ text }) {
  return html`<div class="command"><code tabindex="0">${text}</code><${CopyButton} text=${text} /></div>`;
}

// One of a few, as a group of toggle buttons. `options` is [[value, label], ...].
export function Choice({ label, options, value, onChange }) {
  return html`
    <div class="choice" role="group" aria-label=${label}>
      ${options.map(([key, text]) => html`<button aria-pressed=${key === value} onClick=${() => onChange(key)}>${text}</button>`)}
    </div>`;
}

export function Select({ label, options, value, onChange }) {
  return html`
    <label class="select"><span class="visually-hidden">${label}</span>
      <select value=${value} aria-label=${label} onChange=${(event) => onChange(event.currentTarget.value)}>
        ${options.map(([key, text]) => html`<option value=${key} selected=${key === value}>${text}</option>`)}
      </select>
    </label>`;
}

// A button that opens a small panel below it; closed by Escape, or by a click elsewhere.
export function Menu({ label, children }) {
  const details = useRef(null);
  useLayoutEffect(() => {
    const close = (event) => {
      const open = details.current?.open;
      if (open && (event.type === "pointerdown" ? !details.current.contains(event.target) : event.key === "Escape")) {
        details.current.open = false;
        if (event.type === "keydown") details.current.querySelector("summary").focus();
      }
    };
    addEventListener("pointerdown", close);
    addEventListener("keydown", close);
    return () => {
      removeEventListener("pointerdown", close);
      removeEventListener("keydown", close);
    };
  }, []);
  // Below its button, but never beyond the window.
  const place = () => {
    const panel = details.current.lastElementChild;
    panel.style.translate = "";
    const { left, right } = panel.getBoundingClientRect();
    const far = document.documentElement.clientWidth - EDGE;
    if (left < EDGE) panel.style.translate = `${EDGE - left}px`;
    else if (right > far) panel.style.translate = `${far - right}px`;
  };
  return html`<details class="menu" ref=${details} onToggle=${place}><summary class="button small">${label}</summary><div class="menu-panel">${children}</div></details>`;
}

// A modal question; focus goes back to where it was (the dialog element does that). With `word` (`what` says of what it is) that must be typed first:
// for what cannot be undone.
export function Confirm({ title, children, action, word, what, onConfirm, onClose }) {
  const dialog = useRef(null);
  const [typed, type] = useState("");
  const bare = (text) => text.trim().replace(/\s+/g, " "); // as a page shows it
  const confirmed = word === undefined || bare(typed) === bare(word);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  return html`
    <dialog ref=${dialog} onClose=${onClose} aria-labelledby="confirm-title">
      <h2 id="confirm-title">${title}</h2>
      <form onSubmit=${(event) => {
        event.preventDefault();
        if (!confirmed) return;
        dialog.current.close();
        onConfirm();
      }}>
        <p>${children}</p>
        ${
          word !== undefined &&
          html`<label class="field"><span class="wrap">To confirm, type ${what}: <b class="mono">${word}</b></span>
          <input autocomplete="off" spellcheck=${false} value=${typed} onInput=${(event) => type(event.currentTarget.value)} /></label>`
        }
        <div class="actions">
          <button type="button" onClick=${() => dialog.current.close()}>Keep it</button>
          <button class="danger" disabled=${!confirmed}>${action}</button>
        </div>
      </form>
    </dialog>`;
}

// Does `action` once nobody has asked for it for `pause` milliseconds: {soon(...given), cancel()}. Forgotten with the component, so that what was
// typed just before a view is left does not reach the next one.
export function useDelayed(action, pause) {
  const latest = useRef(action);
  latest.current = action;
  const delayed = useMemo(() => {
    let timer;
    const cancel = () => clearTimeout(timer);
    const soon = (...given) => {
      cancel();
      timer = setTimeout(() => latest.current(...given), pause);
    };
    return { soon, cancel };
  }, [pause]);
  useEffect(() => delayed.cancel, [delayed]);
  return delayed;
}

// The time, read anew at each whole `interval` while mounted and the page is not away: for ages and running durations. All who ask for one
// interval get the same time, so that two ages beside each other agree.
export function useClock(interval = 1000) {
  const read = () => Math.floor(Date.now() / interval) * interval;
  const [now, set] = useState(read);
  useEffect(() => {
    let timer;
    const tick = () => {
      if (!isAway()) set(read());
      timer = setTimeout(tick, interval - (Date.now() % interval));
    };
    tick();
    return () => clearTimeout(timer);
  }, [interval]);
  return now;
}

export function Ago({ at }) {
  const milliseconds = typeof at === "string" ? Date.parse(at) : at;
  const now = useClock(5000);
  if (!milliseconds) return html`<span class="muted">–</span>`;
  const iso = new Date(milliseconds).toISOString();
  return html`<time datetime=${iso} title=${iso}>${formatAgo(milliseconds, now)}</time>`;
}
