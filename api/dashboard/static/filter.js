// The one selection of a study's page: a filter text in the address. Table and charts show the trials that pass; the page's own columns say which
// (`filter_terms.js`), or the server where they do not.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { Announced } from "./announced.js";
import { get } from "./api.js";
import { useDelayed } from "./controls.js";
import { passing, read } from "./filter_terms.js";
import { formatCount } from "./format.js";
import { useKeys } from "./keyboard.js";
import { useQuery } from "./router.js";
import { remembered } from "./trials.js";

const PAUSE = 250; // milliseconds without a keystroke before the server is asked
const INTERVAL = 1_000; // of a changing study

// {text, set, here, numbers, error}: `numbers` is the Set that passes, null without a filter or before the first answer; here(text) tells whether
// the page itself can answer.
export function useFilter(feed, version) {
  const [text, set] = useQuery("filter");
  const [answer, setAnswer] = useState({ text: "", numbers: null, error: null });
  const asked = useRef(0);
  const shown = useRef(null);
  const found = useMemo(() => {
    const numbers = feed?.loaded && text ? passing(text, feed) : null;
    return numbers && new Set(numbers);
  }, [feed, feed?.loaded, version, text]);
  const isHere = Boolean(found);
  useEffect(() => {
    if (!feed?.loaded || !text || isHere) return undefined;
    let gone = false;
    const timer = setTimeout(
      async () => {
        asked.current = performance.now();
        try {
          const { numbers } = await get(`${feed.path}/numbers?filter=${encodeURIComponent(text)}`);
          if (!gone) setAnswer({ text, numbers: new Set(numbers), error: null });
        } catch (error) {
          if (!gone) setAnswer({ text, numbers: null, error: error.message });
        }
      },
      Math.max(answer.text === text ? 0 : 50, asked.current + (answer.text === text ? INTERVAL : 0) - performance.now()),
    );
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [feed, feed?.loaded, version, text, isHere]);
  const answered = answer.text === text ? answer : { numbers: null, error: null };
  // What was found before stays meanwhile: a half-typed filter should not empty the page.
  shown.current = text ? (found ?? answered.numbers ?? shown.current) : null;
  return { text, set, here: (wanted) => Boolean(feed?.loaded) && read(wanted, feed) !== null, numbers: shown.current, error: isHere ? null : answered.error };
}

// The feed as a filter shows it: the same study, only the trials that pass and are in one of `states` (all when empty).
export function filteredFeed(feed, numbers, states = []) {
  if (!numbers && !states.length) return feed;
  const trials = Object.create(feed.trials);
  trials.numbers = function* shown() {
    for (const number of numbers ?? feed.trials.numbers()) {
      const state = feed.trials.states[number];
      if (state !== undefined && (!states.length || states.includes(state))) yield number;
    }
  };
  // Those ranked already keep their order: nothing is sorted again.
  trials.ranked = (objective) =>
    remembered(trials, `ranked ${objective.direction} ${objective.name}`, () =>
      !states.length || states.includes("COMPLETE") ? feed.trials.ranked(objective).filter((number) => !numbers || numbers.has(number)) : [],
    );
  return {
    study: feed.study,
    path: feed.path,
    objectives: feed.objectives,
    limits: feed.limits,
    curves: feed.curves,
    loaded: feed.loaded,
    trials,
    wantCurves: (...wanted) => feed.wantCurves(...wanted),
    mergeTrial: (trial) => feed.mergeTrial(trial),
    replaceStudy: (study) => feed.replaceStudy(study),
  };
}

export function FilterBar({ filter, total }) {
  const [typed, type] = useState(filter.text);
  const input = useRef(null);
  // Layout effects: others run after the bar has been painted, and what is typed until then would be lost.
  useLayoutEffect(() => type((old) => (old.trim() === filter.text ? old : filter.text)), [filter.text]);
  const setting = useDelayed(filter.set, PAUSE);
  const apply = (given) => {
    type(given);
    const wanted = given.trim();
    setting.cancel();
    if (filter.here(wanted)) filter.set(wanted);
    else setting.soon(wanted);
  };
  useKeys({ "/": () => input.current?.focus() });
  const found = filter.numbers ? `${formatCount(filter.numbers.size)} of ${formatCount(total)} trials` : "";
  return html`
    <div class="filter-bar">
      <input ref=${input} type="search" class="mono" aria-label="Filter of trials" aria-invalid=${Boolean(filter.error)} aria-describedby="filter-answer"
        placeholder="Filter: state:complete optimizer=adam lr<1e-3   /" value=${typed}
        onKeyDown=${(event) => event.key === "Escape" && apply("")}
        onInput=${(event) => apply(event.currentTarget.value)} />
      <span id="filter-answer" role="status" aria-live=${filter.error ? "polite" : "off"} class=${filter.error ? "bad" : "muted"}>${filter.error ?? found}</span>
      <${Announced} text=${filter.numbers && !filter.error ? `The filter finds ${formatCount(filter.numbers.size)}` : ""} />
    </div>`;
}
