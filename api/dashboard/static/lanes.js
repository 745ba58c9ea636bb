// Attempts as bars on lanes of time, one group of lanes a worker, a lane a GPU where that is known: who ran what, when, and how it ended. A click
// on a bar leads to its trial; the same as a table is for those who do not point. Weakness: of bars merged for being too thin only the most
// frequent end has its colour; how many there are of each is said in words.

import { html, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { Ago } from "./controls.js";
import { formatCount, formatDuration, formatReason } from "./format.js";
import { Link, navigate, trialAddress } from "./router.js";
import { attemptTone } from "./states.js";

export const WINDOWS = [
  ["900", "15 min"],
  ["3600", "1 h"],
  ["21600", "6 h"],
  ["86400", "1 day"],
];
const MAX_ROWS = 200;
const [THIN, MERGED] = [2, 6]; // pixels: what is narrower is merged with its neighbours, into bars no wider than that
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

// [{label, items}]: a worker's lanes. Where attempts tell on which GPUs they ran, each GPU has one, or as many as ran there at a time, idle ones
// too; those that do not tell are packed, which after the others is called so.
export function lanesOf(worker, attempts, now) {
  const told = attempts.filter(({ devices }) => devices?.length);
  if (!told.length) return pack(attempts, now).map((items) => ({ label: "", items }));
  const devices = [...new Set([...worker.gpus.keys(), ...told.flatMap((attempt) => attempt.devices)])].sort((a, b) => a - b);
  const named = (label, lanes) => lanes.map((items, i) => ({ label: i === 0 ? label : "", items }));
  return [
    ...devices.flatMap((device) => {
      const lanes = pack(told.filter((attempt) => attempt.devices.includes(device)), now);
      return named(`GPU ${device}`, lanes.length ? lanes : [[]]);
    }),
    ...named("other", pack(attempts.filter(({ devices }) => !devices?.length), now)),
  ];
}

// Items of a lane as bars: [{items, from, to}], where those too thin to be told apart are one. `pixel`: milliseconds.
export function merged(items, pixel) {
  const bars = [];
  for (const item of items) {
    const last = bars.at(-1);
    const isThin = item.to - item.from < THIN * pixel;
    if (isThin && last?.isThin && item.from - last.to < pixel && item.to - last.from < MERGED * pixel) {
      last.items.push(item);
      last.to = item.to;
    } else bars.push({ items: [item], from: item.from, to: item.to, isThin });
  }
  return bars;
}

function mostFrequent(tones) {
  const counts = new Map();
  for (const tone of tones) counts.set(tone, (counts.get(tone) ?? 0) + 1);
  return [...counts].reduce((most, each) => (each[1] > most[1] ? each : most))[0];
}

// Share of the window in which a lane was busy, over `places` lanes.
export function utilisation(lanes, places, from, now) {
  const busy = lanes.flat().reduce((sum, item) => sum + Math.max(0, Math.min(now, item.to) - Math.max(from, item.from)), 0);
  return places > 0 && now > from ? Math.min(1, busy / (places * (now - from))) : 0;
}

const how = (item) => (item.ended_at ? formatReason(item.reason) || "complete" : "running");
const taken = ({ epoch, resumed_from: step }) => (epoch > 1 ? `, attempt ${epoch}${Number.isFinite(step) ? ` resumed at step ${step}` : ""}` : "");

function Bar({ bar, from, now }) {
  const share = (time) => (100 * (Math.max(from, time) - from)) / (now - from);
  const left = share(bar.from);
  const style = { left: `${left}%`, width: `${Math.max(0.15, share(bar.to) - left)}%` };
  if (bar.items.length > 1) return html`<span class="bar many" title=${tally(bar.items)} data-tone=${mostFrequent(bar.items.map(attemptTone))} style=${style}></span>`;
  const [item] = bar.items;
  const title = `${item.study}, trial ${item.number}${taken(item)}: ${how(item)}, ${formatDuration((item.to - item.from) / 1000)}`;
  return html`<span class="bar" title=${title} data-tone=${attemptTone(item)} onClick=${() => navigate(trialAddress(item.study_id, item.number))}
    style=${style}>${item.epoch > 1 && html`<i></i>`}</span>`;
}

// "5 attempts: 3 complete, 2 timeout"
export function tally(items) {
  const counts = new Map();
  for (const item of items) counts.set(how(item), (counts.get(how(item)) ?? 0) + 1);
  return `${formatCount(items.length)} ${items.length === 1 ? "attempt" : "attempts"}: ${[...counts].map(([word, count]) => `${formatCount(count)} ${word}`).join(", ")}`;
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

// What a screen reader is told of a worker's lanes, a GPU after the other.
function spoken(lanes) {
  const groups = lanes.reduce((found, { label, items }) => {
    if (label || !found.length) return [...found, { label, items }];
    found.at(-1).items = [...found.at(-1).items, ...items];
    return found;
  }, []);
  return groups.map(({ label, items }) => `${label && `${label}: `}${items.length ? tally(items) : "nothing"}`).join("; ");
}

export function Lanes({ workers, attempts, seconds, now }) {
  const box = useRef(null);
  const [wide, setWide] = useState(1000);
  useLayoutEffect(() => {
    const measure = () => setWide(box.current.querySelector(".lane-row")?.clientWidth || 1000);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const from = now - seconds * 1000;
  const own = new Map(workers.map(({ name }) => [name, []]));
  for (const attempt of attempts) own.get(attempt.worker)?.push(attempt);
  const groups = [...workers]
    .filter(({ name }) => own.get(name).length)
    .sort((a, b) => a.name.localeCompare(b.name))
    .map((worker) => ({ worker, slots: pack(own.get(worker.name), now), lanes: lanesOf(worker, own.get(worker.name), now) }));
  const lost = attempts.filter(({ reason }) => reason === "lost").length;
  const takeovers = attempts.filter(({ epoch }) => epoch > 1).length;
  const named = groups.some(({ lanes }) => lanes.some(({ label }) => label));
  return html`<div ref=${box} class=${named ? "named" : ""}>${
    groups.length
      ? html`
    <div class="lanes" role="list">
      ${groups.map(
        ({ worker, slots, lanes }) => html`
        <div class="lane-group" role="listitem" key=${worker.id}>
          <div class="lane-name"><span title=${worker.name}>${worker.name}</span><span class="muted figure">${Math.round(
            100 * utilisation(slots, Math.max(worker.slots, slots.length), from, now),
          )} % busy</span></div>
          <div class="lane-rows" role="img" aria-label=${spoken(lanes)}>${lanes.map(
            ({ label, items }) => html`${named && html`<span class="lane-label muted figure">${label}</span>`}<div class="lane-row">${merged(items, (now - from) / wide).map(
              (bar) => html`<${Bar} key=${`${bar.items[0].study_id}/${bar.items[0].number}/${bar.items[0].epoch}`} bar=${bar} from=${from} now=${now} />`,
            )}</div>`,
          )}</div>
        </div>`,
      )}
    </div>
    <div class="lane-scale muted figure"><span>${formatDuration(seconds)} ago</span><span>now</span></div>
    <p class="legend muted">${LEGEND.map(([name, word]) => html`<span><i data-tone=${name}></i>${word}</span>`)}
      <span>${formatCount(lost)} lost, ${formatCount(takeovers)} ${takeovers === 1 ? "attempt" : "attempts"} that took a trial over or up again</span></p>`
      : html`<p class="chart-note">Nothing ran in this time.</p>`
  }</div>`;
}
