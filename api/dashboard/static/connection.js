// Whether the page is live: one state for the whole page, shown in its header. A view without a stream of its own sets it when it polls.

import { useEffect, useState } from "./vendor/htm-preact.js";

let current = { state: "connecting", since: Date.now() };
const listeners = new Set();

export function setConnection(state) {
  if (state === current.state) return;
  current = { state, since: Date.now() };
  for (const listener of listeners) listener(current);
}

export function useConnection() {
  const [connection, set] = useState(current);
  useEffect(() => {
    listeners.add(set);
    set(current);
    return () => listeners.delete(set);
  }, []);
  return connection;
}
