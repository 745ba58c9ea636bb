// Whether the page is live: one state for the whole page, shown in its header. Whatever asks the server is a source while it is looked at, and the
// page is as live as the worst of its sources. Here also stands whether the page is away: hidden, or held by the user, and then asks for nothing.

import { useEffect, useState } from "./vendor/htm-preact.js";

const RANKS = ["live", "polling", "paused", "connecting", "reconnecting"];
const HEARD = ["live", "polling"];
const NONE = { state: "none", held: false, since: 0 };

const sources = new Set();
const listeners = new Set();
const watchers = new Set();
let current = NONE;
let held = false;

function update() {
  const [worst] = [...sources].sort((a, b) => RANKS.indexOf(b.state) - RANKS.indexOf(a.state));
  const state = worst?.state ?? NONE.state;
  if (state === current.state && current.held === held) return;
  current = { state, held, since: state === current.state ? current.since : Date.now() };
  for (const listener of listeners) listener(current);
}

export class Source {
  state = "connecting";
  heard = null; // when the server last said something, in milliseconds

  open() {
    sources.add(this);
    update();
  }

  set(state) {
    this.state = state;
    if (HEARD.includes(state)) this.heard = Date.now();
    update();
  }

  close() {
    sources.delete(this);
    update();
  }
}

// When the server was last heard by the source that has waited longest; null where one has not heard it yet.
export const lastHeard = () => (sources.size ? Math.min(...[...sources].map(({ heard }) => heard ?? 0)) || null : null);

export function useConnection() {
  const [connection, set] = useState(current);
  useEffect(() => {
    listeners.add(set);
    set(current);
    return () => listeners.delete(set);
  }, []);
  return connection;
}

// Nothing is asked for meanwhile, except what a page needs to be there at all.
export const isAway = () => document.hidden || held;

// Calls `watcher` whenever the page goes away or comes back, until the returned function is called.
export function watchAway(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

const tell = () => {
  for (const watcher of [...watchers]) watcher();
};
document.addEventListener("visibilitychange", tell);

export function hold(on) {
  held = on;
  update();
  tell();
}
