// The live state of one study, shared by all panels of a page: summary, trials, learning curves. Loads the columns once, then follows the
// event stream from their revision, so nothing is missed across reconnects; what comes twice is merged twice without harm.

import { useEffect, useReducer, useState } from "./vendor/htm-preact.js";
import { ApiError, get, isOutage } from "./api.js";
import { Source } from "./connection.js";
import { follow } from "./stream.js";
import { Curves, Trials } from "./trials.js";

const REDRAW_INTERVAL = 250;
const RETRY_INTERVAL = 1_500;
const MAX_CURVES = 400;
const MAX_POINTS = 400; // of a curve: about one a pixel; the server keeps the extremes
const LINGER = 10_000;

export class StudyFeed {
  study = null;
  trials = new Trials();
  curves = new Curves();
  loaded = false; // whether all trials that were there at the start are here
  source = new Source(); // open while somebody looks
  error = null; // what keeps the page from being shown at all, or null
  #revision = 0;
  #listeners = new Set();
  #drawn = 0;
  #timer = null;
  #stopStream = null;
  #stopped = false;

  constructor(reference) {
    this.path = `/v1/studies/${encodeURIComponent(reference)}`;
    this.#load();
  }

  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stop() {
    this.#stopped = true;
    this.#stopStream?.();
    clearTimeout(this.#timer);
  }

  get objectives() {
    return this.study?.spec.objectives ?? [];
  }

  get limits() {
    return this.study?.spec.limits ?? {};
  }

  // Fetches the reports of those of `numbers` that are not here yet: of long curves some, with `whole` all.
  async wantCurves(numbers, { whole = false } = {}) {
    const missing = this.curves.unfetched(numbers, whole).slice(0, 200);
    if (!missing.length) return;
    if (this.curves.size > MAX_CURVES) this.curves.keep(numbers);
    this.curves.markFetched(missing, whole);
    try {
      const answer = await get(`${this.path}/curves?numbers=${missing.join(",")}${whole ? "" : `&points=${MAX_POINTS}`}`);
      this.curves.merge(answer.items);
      this.curves.markThinned(answer.items);
      this.#changed();
    } catch {
      this.curves.forgetFetched(missing);
    }
  }

  replaceStudy(study) {
    this.study = study;
    this.#changed();
  }

  // What an action answered, without waiting for the stream to say it too.
  mergeTrial(trial) {
    this.trials.mergeTrial(trial);
    this.#changed();
  }

  async #load() {
    try {
      this.study = await get(this.path);
      await this.#catchUp();
      this.loaded = true;
      this.error = null;
    } catch (error) {
      if (this.#stopped) return;
      this.error = error;
      this.#changed();
      if (!isOutage(error)) return this.source.close();
      this.source.set("reconnecting");
      setTimeout(() => this.#stopped || this.#load(), RETRY_INTERVAL);
      return;
    }
    if (this.#stopped) return;
    this.#changed();
    this.#stopStream = follow(`/v1/events?study=${this.study.id}`, {
      lastId: () => this.#revision,
      onEvent: ({ event, data }) => (event === "deleted" ? this.#end() : this.#apply(data)),
      onState: (state) => this.source.set(state),
    });
  }

  async #catchUp() {
    // All of them are asked for with the tag of those that the browser has kept: mostly nothing has changed since.
    const columns = await get(`${this.path}/columns?since=${this.#revision}`, { cache: this.#revision ? "no-store" : "no-cache" });
    this.trials.mergeColumns(columns);
    this.#revision = columns.revision;
  }

  #end() {
    this.stop();
    this.source.close();
    this.loaded = false;
    this.error = new ApiError("It has been deleted.", 404);
    for (const listener of this.#listeners) listener();
  }

  async #apply(change) {
    this.study = change.study;
    if (change.more) {
      await this.#catchUp();
      this.curves.forgetFetched(); // the columns have no reports: those that are shown are asked for again
    } else {
      for (const trial of change.trials) this.trials.mergeTrial(trial);
      this.curves.merge(change.reports);
      this.#revision = change.revision;
    }
    this.#changed();
  }

  // At most one redraw each REDRAW_INTERVAL, and always one after the last change.
  #changed() {
    if (this.#timer !== null) return;
    const wait = Math.max(0, this.#drawn + REDRAW_INTERVAL - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#drawn = performance.now();
      for (const listener of this.#listeners) listener();
    }, wait);
  }
}

// A feed outlives its view for a while, so that going from a study to a trial and back loads nothing again.
let kept = null;

function acquire(reference) {
  if (kept?.reference !== reference) {
    if (kept?.users === 0) close(kept);
    kept = { reference, feed: new StudyFeed(reference), users: 0, timer: null };
  }
  clearTimeout(kept.timer);
  kept.users += 1;
  kept.feed.source.open();
  return kept;
}

function release(entry) {
  entry.users -= 1;
  if (entry.users > 0) return;
  entry.feed.source.close();
  if (entry !== kept || entry.feed.error) close(entry);
  else entry.timer = setTimeout(() => close(entry), LINGER);
}

function close(entry) {
  clearTimeout(entry.timer);
  entry.feed.stop();
  if (kept === entry) kept = null;
}

// The feed of a study for as long as the component lives; the component is drawn again at each change.
export function useStudyFeed(reference) {
  const [feed, setFeed] = useState(null);
  const [version, redraw] = useReducer((count) => count + 1, 0);
  useEffect(() => {
    const entry = acquire(reference);
    const unsubscribe = entry.feed.subscribe(redraw);
    setFeed(entry.feed);
    return () => {
      unsubscribe();
      release(entry);
    };
  }, [reference]);
  return { feed, version };
}
