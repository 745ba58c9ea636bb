// The attempts at a trial on one time line: who ran it when, how it ended, and who took it over from whom, in words.

import { html } from "./vendor/htm-preact.js";
import { useClock } from "./controls.js";
import { formatCount, formatDuration, formatReason } from "./format.js";
import { attemptTone } from "./states.js";

const who = (attempt) => (attempt.worker ? `worker ${attempt.worker}` : "a client");

// How an attempt came to its trial: "Lease taken over from worker a (no heartbeat 61s), resumed at step 1,200"; "" for the first.
export function takeover(attempt, before) {
  const parts = [];
  if (before?.reason === "lost") {
    const silence = (Date.parse(before.ended_at) - Date.parse(before.heard_at)) / 1000;
    parts.push(`Lease taken over from ${who(before)} (no heartbeat ${formatDuration(silence)})`);
  } else if (before) parts.push(before.worker === attempt.worker ? "Taken up again" : `Taken up from ${who(before)}`);
  if (Number.isFinite(attempt.resumed_from)) parts.push(`${parts.length ? "r" : "R"}esumed at step ${formatCount(attempt.resumed_from)}`);
  else if (before) parts.push("from the beginning");
  return parts.join(", ");
}

export function Attempts({ attempts }) {
  const now = useClock();
  if (!attempts.length)
    return html`<section class="card pad" aria-label="Attempts"><h2>Attempts</h2><p class="muted">No worker has taken this trial yet.</p></section>`;
  const start = Date.parse(attempts[0].started_at);
  const end = Math.max(...attempts.map(({ ended_at }) => (ended_at ? Date.parse(ended_at) : now)), start + 1);
  return html`
    <section class="card table-card" aria-label="Attempts"><h2>Attempts</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Table: attempts"><table class="list still attempts"><thead><tr><th scope="col">#</th><th scope="col">Worker</th>
        <th scope="col">When</th><th scope="col" class="right">Took</th><th scope="col">Ended</th></tr></thead>
        <tbody>${attempts.map((attempt, index) => {
          const [from, to] = [Date.parse(attempt.started_at), attempt.ended_at ? Date.parse(attempt.ended_at) : now];
          const story = takeover(attempt, attempts[index - 1]);
          const share = (time) => (100 * time) / (end - start);
          const place = { left: `${share(from - start)}%`, width: `${Math.max(0.5, share(to - from))}%` };
          return html`<tr><td>${attempt.epoch}</td><td class="wrap">${attempt.worker ?? html`<span class="muted">a client</span>`}</td>
            <td class="lane"><div class="lane-track"><span data-tone=${attemptTone(attempt)} style=${place}></span>
              </div></td>
            <td class="right">${formatDuration((to - from) / 1000)}</td>
            <td class="wrap">${attempt.ended_at ? formatReason(attempt.reason) || "done" : "running"}
              ${attempt.error && html`<details><summary>Error</summary><pre class="code">${attempt.error}</pre></details>`}</td></tr>
            ${story && html`<tr class="story"><td></td><td colspan="4" class="wrap muted">${story}</td></tr>`}`;
        })}</tbody></table></div>
    </section>`;
}
