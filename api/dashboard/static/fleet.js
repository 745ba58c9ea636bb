// What the machines of the fleet say of themselves, and what in the fleet wants attention.

import { html } from "./vendor/htm-preact.js";
import { formatBytes, formatCount, formatDuration } from "./format.js";
import { Sparkline } from "./sparkline.js";
import { Icon } from "./states.js";

const [SHARE, DEGREES] = [
  [0, 1],
  [20, 100],
];
const MAX_NAMED = 3;
const HOT = 85; // degrees at which GPUs begin to slow down
const percent = (share) => `${Math.round(100 * share)} %`;
const given = (list, read) => list.map(read).filter((value) => value !== null && value !== undefined);

// Of the GPUs of the latest sample together: memory in use and there, the hottest; null where none tells.
export function gpuSummary({ gpus }) {
  const [used, total] = [given(gpus, ({ memory }) => memory), given(gpus, ({ memory_total }) => memory_total)];
  const temperatures = given(gpus, ({ temperature }) => temperature);
  return {
    memory: used.length ? used.reduce((sum, value) => sum + value, 0) : null,
    total: total.length ? total.reduce((sum, value) => sum + value, 0) : null,
    temperature: temperatures.length ? Math.max(...temperatures) : null,
  };
}

// A line of what was measured lately and its last value in words; null where nothing was. `say` gets the value.
function Meter({ samples, read, label, range, say }) {
  const points = samples.map((sample) => [Date.parse(sample.at), read(sample)]).filter(([, value]) => value !== null && value !== undefined);
  if (!points.length) return null;
  const latest = points.at(-1)[1];
  const words = say(latest);
  return html`<div class="meter"><${Sparkline} points=${points} range=${range} label=${`${label}: ${words}`} />
    <span class=${label.startsWith("Temperature") && latest >= HOT ? "figure bad" : "figure"}>${words}</span></div>`;
}

// Two cells of the list of workers: its CPUs and its memory, its GPUs with theirs and how hot they are.
export function UsageCell({ worker }) {
  const { usage: samples, name, memory } = worker;
  const { total } = samples.length ? gpuSummary(samples.at(-1)) : {};
  const upTo = (most) => (most ? [0, most] : undefined);
  const meters = [
    [
      { label: `CPUs of ${name}`, read: ({ cpu }) => cpu, range: SHARE, say: percent },
      { label: `Memory of ${name}`, read: (sample) => sample.memory, range: upTo(memory), say: (bytes) => `${formatBytes(bytes)} in use` },
    ],
    [
      { label: `GPUs of ${name}`, read: ({ gpu }) => gpu, range: SHARE, say: percent },
      {
        label: `GPU memory of ${name}`,
        read: (sample) => sample.gpu_memory,
        range: upTo(total),
        say: (bytes) => `${formatBytes(bytes)}${total ? ` of ${formatBytes(total)}` : ""}`,
      },
      { label: `Temperature of ${name}`, read: ({ temperature }) => temperature, range: DEGREES, say: (degrees) => `${Math.round(degrees)} °C` },
    ],
  ];
  const known = ({ read }) => samples.some((sample) => (read(sample) ?? null) !== null);
  return meters.map(
    (each) => html`<td>${each.some(known) ? html`<div class="meters">${each.map((meter) => html`<${Meter} samples=${samples} ...${meter} />`)}</div>` : html`<span class="muted">–</span>`}</td>`,
  );
}

const trials = (count) => `${formatCount(count)} ${count === 1 ? "trial" : "trials"}`;

// Why a silent worker matters: what it holds still, or what has been taken from it since; null when neither.
export function loss(worker, attempts, now) {
  const silence = formatDuration((now - Date.parse(worker.seen_at)) / 1000);
  if (worker.running > 0) return `${worker.name} has been silent for ${silence} and holds ${trials(worker.running)}: another worker takes over when the lease ends.`;
  const lost = attempts.filter(({ worker: name, reason, ended_at }) => name === worker.name && reason === "lost" && Date.parse(ended_at) >= Date.parse(worker.seen_at));
  return lost.length ? `${worker.name} has been silent for ${silence} and lost ${trials(lost.length)}: other workers go on with what it held.` : null;
}

// Which workers have hot GPUs: a sentence each for a few, one for many that names the hottest.
export function heat(workers) {
  const hot = workers
    .filter(({ usage }) => usage.length && gpuSummary(usage.at(-1)).temperature >= HOT)
    .map(({ name, usage }) => [name, Math.round(gpuSummary(usage.at(-1)).temperature)])
    .sort((a, b) => b[1] - a[1]);
  if (hot.length <= MAX_NAMED) return hot.map(([name, degrees]) => `${name} is hot: ${degrees} °C.`);
  const named = hot.slice(0, MAX_NAMED).map(([name, degrees]) => `${name} ${degrees} °C`);
  return [`${formatCount(hot.length)} workers are hot: ${named.join(", ")} and ${formatCount(hot.length - MAX_NAMED)} more.`];
}

// Workers that fell silent with trials, hot ones, and living ones without work, in a sentence each. `attempts`: what ran lately.
export function FleetAlerts({ workers, heard, attempts, now }) {
  const lost = workers.filter((worker) => !heard.includes(worker)).map((worker) => loss(worker, attempts, now)).filter(Boolean);
  const idle = heard.filter(({ running }) => running === 0);
  const lines = [
    ...lost.map((sentence) => ["failed", "cross", sentence]),
    ...heat(heard).map((sentence) => ["failed", "cross", sentence]),
    ...(idle.length ? [["waiting", "ring", `${idle.length === 1 ? `${idle[0].name} is idle` : `${formatCount(idle.length)} of ${formatCount(heard.length)} workers are idle`}: no study has a trial for ${idle.length === 1 ? "it" : "them"}.`]] : []),
  ];
  if (!lines.length) return null;
  return html`<ul class="alerts" aria-label="Alerts">${lines.map(([tone, icon, text]) => html`<li data-tone=${tone}><${Icon} name=${icon} /><span>${text}</span></li>`)}</ul>`;
}
