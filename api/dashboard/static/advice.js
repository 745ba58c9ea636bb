// What the trials so far suggest to do next, in the server's sentences.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";

const MIN_TRIALS = 10;
const PER_TRIAL = 2; // milliseconds more between two questions
const INTERVAL = 15_000; // advice reads all trials

export function Advice({ feed, study }) {
  const [items, set] = useState([]);
  const finished = study.counts.complete + study.counts.pruned + study.counts.fail;
  const [asked, ask] = useState(finished);
  useEffect(() => {
    if (asked === finished) return undefined;
    const timer = setTimeout(() => ask(finished), asked < MIN_TRIALS ? 1_000 : Math.max(INTERVAL, PER_TRIAL * finished));
    return () => clearTimeout(timer);
  }, [finished]);
  useEffect(() => {
    if (asked < MIN_TRIALS) return undefined;
    let gone = false;
    get(`${feed.path}/advice`)
      .then((answer) => gone || set(answer.items))
      .catch(() => gone || set([]));
    return () => {
      gone = true;
    };
  }, [feed.path, asked]);
  if (!items.length) return null;
  return html`<section class="card pad" aria-label="What to try next"><h2>What to try next</h2>
    <ul class="rests">${items.map(({ kind, sentence }) => html`<li key=${kind + sentence}>${sentence}</li>`)}</ul></section>`;
}
