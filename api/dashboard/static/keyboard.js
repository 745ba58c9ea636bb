// Keys that work on every view, said in one place: where they lead, what they do, and whether they are on at all (WCAG 2.1.4).
// A view names its own by `useKeys`; j, k, Enter and x walk through whatever rows it marks with `data-row`.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { match, navigate, studyAddress, withQuery } from "./router.js";

const STORED = "tuner-keys";
const PATIENCE = 1_200; // between g and the letter after it
const PLACES = { s: "/studies", f: "/workers", w: "/workers", a: "/admin" };
const TABS = { o: "overview", t: "trials", e: "explore", c: "compare", n: "configuration" };
const HELP = [
  ["Anywhere", [["/", "Search"], ["g s", "Studies"], ["g f", "Fleet"], ["g a", "Admin"], ["?", "This help"], ["Esc", "Close, clear, leave the field"]]],
  ["Rows", [["j  k", "Next, previous"], ["Enter", "Open"], ["x", "Select"], ["c", "Compare the selected studies"]]],
  ["The table of trials", [["Shift x", "Select all from the last one on"], ["←  →", "Other columns"], ["Shift End", "The last column"]]],
  ["A study", [["g o", "Overview"], ["g t", "Trials"], ["g e", "Explore"], ["g c", "Compare"], ["g n", "Configuration"], ["←  →", "On the tabs: the next"]]],
  ["A trial", [["[  ]", "Previous, next trial"]]],
  ["A chart", [["←  →", "Read its points"], ["↑  ↓", "Another curve"], ["Enter", "Open the point's trial"]]],
];
const bound = new Set();
let enabled = read();

function read() {
  try {
    return localStorage.getItem(STORED) !== "off";
  } catch {
    return true;
  }
}

function enable(on) {
  enabled = on;
  try {
    localStorage.setItem(STORED, on ? "on" : "off");
  } catch {
    /* private mode: for this page only */
  }
}

const typing = ({ target }) => /^(input|textarea|select)$/i.test(target.tagName) ? target.type !== "checkbox" : target.isContentEditable;

// `keys` maps a key to what it does, for as long as the component lives. In a layout effect: no key pressed after the first paint is lost.
export function useKeys(keys) {
  const latest = useRef(keys);
  latest.current = keys;
  useLayoutEffect(() => {
    bound.add(latest);
    return () => bound.delete(latest);
  }, []);
}

function walk(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return false;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const row = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
  (row.querySelector("a") ?? row).focus();
  row.scrollIntoView({ block: "nearest" });
  return true;
}

const activeRow = () => document.activeElement?.closest?.("[data-row]");

const COMMON = {
  j: () => walk(1),
  k: () => walk(-1),
  x: () => {
    const tick = activeRow()?.querySelector('input[type="checkbox"]');
    tick?.click();
    return Boolean(tick);
  },
  "/": () => {
    const field = document.querySelector('main input[type="search"], main [data-search]');
    field?.focus();
    field?.select?.();
    return Boolean(field);
  },
};

function go(letter) {
  if (PLACES[letter]) return navigate(PLACES[letter]);
  const { view, params } = match(location.pathname);
  if (!params.study || !TABS[letter]) return;
  const tab = letter === "o" ? null : TABS[letter];
  if (view === "study") navigate(withQuery("tab", tab)); // filter and states stay
  else navigate(studyAddress(encodeURIComponent(params.study)) + (tab ? `?tab=${tab}` : ""));
}

// Listens on the whole page and draws the help; stands once in the frame.
export function Keyboard({ open, onOpen, onClose }) {
  const pending = useRef(0);
  useLayoutEffect(() => {
    const onKey = (event) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.key === "Escape" && typing(event) && event.target.closest("main")) return event.target.blur();
      if (typing(event) || (!enabled && event.key !== "Escape")) return;
      if (performance.now() < pending.current && event.key.length === 1) {
        pending.current = 0;
        event.preventDefault();
        return go(event.key);
      }
      if (event.key === "g") {
        pending.current = performance.now() + PATIENCE;
        return;
      }
      if (event.key === "?") return onOpen();
      // A grid that has the focus walks through its own rows.
      if (event.target.closest?.('[role="grid"]') && /^[jkx]$/i.test(event.key)) return;
      for (const keys of bound) {
        if (!(event.key in keys.current)) continue;
        event.preventDefault();
        keys.current[event.key]();
        return;
      }
      if (COMMON[event.key]?.()) event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  return open && html`<${Help} onClose=${onClose} />`;
}

function Help({ onClose }) {
  const dialog = useRef(null);
  const [on, setOn] = useState(enabled);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const change = ({ currentTarget }) => {
    enable(currentTarget.checked);
    setOn(currentTarget.checked);
  };
  return html`
    <dialog class="help" ref=${dialog} onClose=${onClose} aria-labelledby="help-title">
      <h2 id="help-title">Keys</h2>
      <div class="help-groups">${HELP.map(
        ([title, keys]) => html`<section><h3>${title}</h3><dl>${keys.map(
          ([key, what]) => html`<dt>${key.split(" ").map((part) => part && html`<kbd>${part}</kbd>`)}</dt><dd>${what}</dd>`,
        )}</dl></section>`,
      )}</div>
      <div class="actions"><label class="check"><input type="checkbox" checked=${on} onChange=${change} />Keys are on</label>
        <button onClick=${() => dialog.current.close()}>Close</button></div>
    </dialog>`;
}
