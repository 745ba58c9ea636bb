// Attempts as bars on lanes of time, one group of lanes a worker: who ran what, when, and how it ended. A click on a bar leads to
// its trial; the same as a table is for those who do not point.

import { html } from "./vendor/htm-preact.js";
import { Ago } from "./controls.js";
import { formatDuration, formatReason } from "./format.js";
import { Link, navigate, trialAddress } from "./router.js";
import { attemptTone } from "./states.js";

export const WINDOWS = [
  ["900", "15 min"],
  ["3600", "1 h"],
  ["21600", "6 h"],
  ["86400", "1 day"],
];
const MAX_ROWS = 200;
const LEGEND = [
  ["running", "running"],
  ["complete", "complete"],
  ["pruned", "pruned or paused"],
  ["waiting", "handed back"],
  ["failed", "failed or lost"],
];

// Attempts in lanes, none overlapping another on its lane: each takes the first lane that is free when it begins.
export function pack(attempts, now) {
  const lanes = [];
  for (const attempt of [...attempts].sort((a, b) => Date.parse(a.started_at) - Date.parse(b.started_at))) {
    const from = Date.parse(attempt.started_at);
    const to = attempt.ended_at ? Date.parse(attempt.ended_at) : now;
    const lane = lanes.find((found) => found.end <= from);
    if (lane) {
      lane.items.push({ ...attempt, from, to });
      lane.end = to;
    } else lanes.push({ end: to, items: [{ ...attempt, from, to }] });
  }
  return lanes.map(({ items }) => items);
}

// Share of the window in which a lane was busy, over `places` lanes.
export function utilisation(lanes, places, from, now) {
  const busy = lanes.flat().reduce((sum, item) => sum + Math.max(0, Math.min(now, item.to) - Math.max(from, item.from)), 0);
  return places > 0 && now > from ? Math.min(1, busy / (places * (now - from))) : 0;
}

const how = (item) => (item.ended_at ? formatReason(item.reason) || "complete" : "running");
const taken = ({ epoch, resumed_from: step }) => (epoch > 1 ? `, attempt ${epoch}${Number.isFinite(step) ? ` resumed at step ${step}` : ""}` : "");

function Bar({ item, from, now }) {
  const share = (time) => (100 * (Math.max(from, time) - from)) / (now - from);
  const left = share(item.from);
  const title = `${item.study}, trial ${item.number}${taken(item)}: ${how(item)}, ${formatDuration((item.to - item.from) / 1000)}`;
  return html`<span class="bar" title=${title} data-tone=${attemptTone(item)} onClick=${() => navigate(trialAddress(item.study_id, item.number))}
    style=${{ left: `${left}%`, width: `${Math.max(0.15, share(item.to) - left)}%` }}>${item.epoch > 1 && html`<i></i>`}</span>`;
}

// "5 attempts: 3 complete, 2 timeout"
export function tally(items) {
  const counts = new Map();
  for (const item of items) counts.set(how(item), (counts.get(how(item)) ?? 0) + 1);
  return `${items.length} ${items.length === 1 ? "attempt" : "attempts"}: ${[...counts].map(([word, count]) => `${count} ${word}`).join(", ")}`;
}

// The same as rows, the latest first: bars may be too thin to point at, and cannot be reached by keys.
export function AttemptTable({ attempts, now }) {
  const latest = [...attempts].sort((a, b) => Date.parse(b.started_at) - Date.parse(a.started_at));
  return html`
    <div class="chart-table" tabindex="0" role="region" aria-label="Attempts">
      <table><thead><tr>${["Worker", "Trial", "Started", "Took", "Ended"].map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
        <tbody>${latest.slice(0, MAX_ROWS).map(
          (item) => html`<tr key=${`${item.study_id}/${item.number}/${item.epoch}`}><td class="name" title=${item.worker}>${item.worker}</td>
          <td class="name"><${Link} href=${trialAddress(item.study_id, item.number)}>${item.study}, trial ${item.number}<//>${taken(item)}</td>
          <td><${Ago} at=${item.started_at} /></td><td>${formatDuration(((item.ended_at ? Date.parse(item.ended_at) : now) - Date.parse(item.started_at)) / 1000)}</td>
          <td>${how(item)}</td></tr>`,
        )}</tbody></table>
      ${latest.length > MAX_ROWS && html`<p class="muted">The latest ${MAX_ROWS} of ${latest.length}.</p>`}
      ${!latest.length && html`<p class="muted">Nothing ran in this time.</p>`}
    </div>`;
}

export function Lanes({ workers, attempts, seconds, now }) {
  const from = now - seconds * 1000;
  const groups = [...workers]
    .sort((a, b) => a.name.localeCompare(b.name))
    .map((worker) => ({ worker, lanes: pack(attempts.filter((attempt) => attempt.worker === worker.name), now) }))
    .filter(({ lanes }) => lanes.length);
  if (!groups.length) return html`<p class="chart-note">Nothing ran in this time.</p>`;
  const lost = attempts.filter(({ reason }) => reason === "lost").length;
  const takeovers = attempts.filter(({ epoch }) => epoch > 1).length;
  return html`
    <div class="lanes" role="list">
      ${groups.map(
        ({ worker, lanes }) => html`
        <div class="lane-group" role="listitem" key=${worker.id}>
          <div class="lane-name"><span title=${worker.name}>${worker.name}</span><span class="muted figure">${Math.round(
            100 * utilisation(lanes, Math.max(worker.slots, lanes.length), from, now),
          )} % busy</span></div>
          <div class="lane-rows" role="img" aria-label=${tally(lanes.flat())}>${lanes.map(
            (items) => html`<div class="lane-row">${items.map((item) => html`<${Bar} key=${`${item.study_id}/${item.number}/${item.epoch}`} item=${item} from=${from} now=${now} />`)}</div>`,
          )}</div>
        </div>`,
      )}
    </div>
    <div class="lane-scale muted figure"><span>${formatDuration(seconds)} ago</span><span>now</span></div>
    <p class="legend muted">${LEGEND.map(([name, word]) => html`<span><i data-tone=${name}></i>${word}</span>`)}
      <span>${lost} lost, ${takeovers} ${takeovers === 1 ? "attempt" : "attempts"} that took a trial over or up again</span></p>`;
}
