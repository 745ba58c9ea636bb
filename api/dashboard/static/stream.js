// Server-sent events read with fetch rather than EventSource: only so can the first request say from which revision to go on,
// a 401 be told from an outage, and a silent connection be given up. Hidden tabs hold no connection.

import { goToLogin } from "./api.js";

const SILENCE = 45_000; // the server sends a comment every 15 s
const LONGEST_WAIT = 3_000;

// Splits chunks of text into events {id, event, data}; comments are dropped.
export class EventParser {
  #rest = "";

  push(text) {
    const events = [];
    const blocks = (this.#rest + text).replaceAll("\r\n", "\n").split("\n\n");
    this.#rest = blocks.pop();
    for (const block of blocks) {
      const event = { id: null, event: "message", data: "" };
      const data = [];
      for (const line of block.split("\n")) {
        const colon = line.indexOf(":");
        if (colon <= 0) continue;
        const [field, value] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
        if (field === "data") data.push(value);
        else if (field === "id" || field === "event") event[field] = value;
      }
      if (!data.length) continue;
      event.data = data.join("\n");
      events.push(event);
    }
    return events;
  }
}

// Follows `path` until the returned function is called. `lastId()` is asked at each connection; `onEvent(event)` gets parsed data and may
// be async; `onState` gets "connecting", "live", "reconnecting" or "paused".
export function follow(path, { lastId, onEvent, onState }) {
  let stopped = false;
  let controller = null;
  let wake = () => {};

  const pause = (milliseconds) =>
    new Promise((resolve) => {
      const timer = milliseconds === null ? null : setTimeout(resolve, milliseconds);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  const onVisibility = () => (document.hidden ? controller?.abort() : wake());
  document.addEventListener("visibilitychange", onVisibility);

  async function read() {
    controller = new AbortController();
    let watchdog;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => controller.abort(), SILENCE);
    };
    alive();
    try {
      const id = lastId();
      const headers = { Accept: "text/event-stream", ...(id === null ? {} : { "Last-Event-ID": String(id) }) };
      const response = await fetch(path, { headers, signal: controller.signal, cache: "no-store", credentials: "same-origin" });
      if (response.status === 401) {
        stopped = true;
        goToLogin();
        return false;
      }
      if (!response.ok) return false;
      onState("live");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return true;
        alive();
        for (const event of parser.push(value)) await onEvent({ ...event, data: JSON.parse(event.data) });
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  (async () => {
    onState("connecting");
    for (let failures = 0; !stopped;) {
      if (document.hidden) {
        onState("paused");
        await pause(null);
        continue;
      }
      try {
        failures = (await read()) ? 0 : failures + 1;
      } catch {
        failures += 1;
      }
      if (stopped) return;
      if (!document.hidden) onState("reconnecting");
      await pause(Math.min(LONGEST_WAIT, 250 * 2 ** failures));
    }
  })();

  return () => {
    stopped = true;
    document.removeEventListener("visibilitychange", onVisibility);
    controller?.abort();
    wake();
  };
}
