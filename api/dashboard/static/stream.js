// Server-sent events read with fetch rather than EventSource: only so can the first request say from which revision to go on,
// a 401 be told from an outage, and a silent connection be given up. Pages that are away hold no connection. Where answers come through but streams
// do not, as behind a proxy that waits for the end of each, the same events are asked for every few seconds.

import { goToLogin } from "./api.js";
import { isAway, watchAway } from "./connection.js";

const SILENCE = 45_000; // the server sends a comment every 15 s
const FIRST_SIGN = 5_000; // and something as soon as it opens
const LONGEST_WAIT = 3_000;
const POLL_INTERVAL = 3_000;
const POLLED_FOR = 300_000; // until a stream is tried again

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
// be async; `onState` gets "connecting", "live", "polling", "reconnecting" or "paused". What is no longer there comes as "deleted", and is the end.
// `poll()` asks in another way where no stream comes, and tells whether there was an answer.
export function follow(path, { lastId, onEvent, onState, poll: ask }) {
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
  const forget = watchAway(() => (isAway() ? controller?.abort() : wake()));

  // Events of one answer until it ends. False: it did not come, or nothing in it for longer than a live server is silent.
  async function read(address, state) {
    controller = new AbortController();
    let watchdog;
    const expect = (within) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => controller.abort(), within);
    };
    expect(FIRST_SIGN);
    let came = false;
    try {
      const id = lastId();
      const headers = { Accept: "text/event-stream", ...(id === null ? {} : { "Last-Event-ID": String(id) }) };
      const response = await fetch(address, { headers, signal: controller.signal, cache: "no-store", credentials: "same-origin" });
      if (response.status === 401) {
        stopped = true;
        goToLogin();
        return false;
      }
      if (response.status === 404 && (await response.json()).code === "study_not_found") {
        stopped = true;
        onState(state);
        await onEvent({ id: null, event: "deleted", data: {} });
        return false;
      }
      if (!response.ok) return false;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return came;
        onState(state); // with each sign of life
        came = true;
        expect(SILENCE);
        for (const event of parser.push(value)) await onEvent({ ...event, data: JSON.parse(event.data) });
      }
    } catch {
      return came;
    } finally {
      clearTimeout(watchdog);
    }
  }

  async function once() {
    if (!ask) return read(`${path}${path.includes("?") ? "&" : "?"}once=true`, "polling");
    const answered = await ask();
    if (answered && !stopped) onState("polling");
    return answered;
  }

  async function poll() {
    for (const end = performance.now() + POLLED_FOR; performance.now() < end && !stopped && !isAway(); ) {
      await pause(POLL_INTERVAL);
      if (stopped || isAway() || !(await once())) return;
    }
  }

  (async () => {
    onState("connecting");
    let answers = false; // an answer came through after the last stream that did not
    for (let failures = 0; !stopped;) {
      if (isAway()) {
        onState("paused");
        await pause(null);
        continue;
      }
      const streams = await read(path, "live");
      if (stopped) return;
      failures = streams ? 0 : failures + 1;
      if (!streams && !isAway()) {
        // Asked once more for a stream before it is taken that none comes: a server that has just started gives both.
        if (answers) await poll();
        answers = !answers && (await once());
        if (answers) continue;
      }
      if (stopped) return;
      if (!isAway()) onState("reconnecting");
      await pause(Math.min(LONGEST_WAIT, 250 * 2 ** failures));
    }
  })();

  return () => {
    stopped = true;
    forget();
    controller?.abort();
    wake();
  };
}
