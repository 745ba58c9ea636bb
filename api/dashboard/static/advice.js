// What the trials so far suggest to do next, in the server's sentences.

import { html } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { useAsked } from "./asking.js";
import { MIN_TRIALS, useOccasions } from "./occasions.js";

export function Advice({ feed, study }) {
  const occasion = useOccasions(study.counts.complete + study.counts.pruned + study.counts.fail);
  const { answer } = useAsked(({ signal }) => get(`${feed.path}/advice`, { signal }), { question: feed.path, occasion, when: occasion >= MIN_TRIALS });
  const items = answer?.items ?? [];
  if (!items.length) return null;
  return html`<section class="card pad" aria-label="What to try next"><h2>What to try next</h2>
    <ul class="rests">${items.map(({ kind, sentence }) => html`<li key=${kind + sentence}>${sentence}</li>`)}</ul></section>`;
}
