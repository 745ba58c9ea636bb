// What the trials so far suggest to do next, in the server's sentences.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { MIN_TRIALS, useOccasions } from "./occasions.js";

export function Advice({ feed, study }) {
  const [items, set] = useState([]);
  const asked = useOccasions(study.counts.complete + study.counts.pruned + study.counts.fail);
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
