// The fleet: who offers slots, what is running there, how busy its machines are, who has fallen silent. Polled, because workers have no revision to follow.

import { html, useEffect, useMemo, useState } from "../vendor/htm-preact.js";
import { get } from "../api.js";
import { isAway, Source } from "../connection.js";
import { Ago, Choice, Command, useClock } from "../controls.js";
import { formatBytes, formatCount, formatNumber } from "../format.js";
import { FleetAlerts, UsageCell } from "../fleet.js";
import { AttemptTable, Lanes, WINDOWS } from "../lanes.js";
import { Empty, Failure, Loading } from "../notices.js";
import { useQuery } from "../router.js";
import { Icon } from "../states.js";

const POLL = 2_000;
const LANES_POLL = 5_000;
const SILENT_AFTER = 90_000; // longer than the default lease, within which a living worker is heard at least once

function liveness(worker, now) {
  if (now - Date.parse(worker.seen_at) > SILENT_AFTER) return { word: "Silent", icon: "cross", tone: "waiting" };
  return worker.running > 0 ? { word: "Working", icon: "dot", tone: "running" } : { word: "Idle", icon: "ring", tone: "complete" };
}

function Slots({ running, slots }) {
  const text = `${running} of ${slots} slots busy`;
  if (slots > 32) return html`<span class="figure" title=${text}>${running} / ${slots}</span>`;
  const places = Array.from({ length: slots }, (_, i) => html`<i class=${i < running ? "busy" : ""}></i>`);
  return html`<span class="slots" role="img" aria-label=${text} title=${text}>${places}</span> <span class="muted figure">${running} / ${slots}</span>`;
}

// ["H100", "H100", "A40"] -> "2 × H100, A40"
export function formatGpus(gpus) {
  const counts = new Map();
  for (const name of gpus) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count > 1 ? `${count} × ${name}` : name)).join(", ");
}

// {attempts, at}: those of the last `seconds` and when they were told, asked for every few of them; null before the first answer.
function useLanes(seconds) {
  const [lanes, set] = useState(null);
  useEffect(() => {
    let gone = false;
    let timer;
    let asked = false;
    const read = async () => {
      if (!isAway() || !asked) {
        asked = true;
        try {
          const { items } = await get(`/v1/workers/lanes?seconds=${seconds}`);
          if (!gone) set({ attempts: items, at: Date.now() });
        } catch {
          /* the list of workers above tells that the server is away */
        }
      }
      if (!gone) timer = setTimeout(read, LANES_POLL);
    };
    read();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [seconds]);
  return lanes;
}

// Thousands of bars: drawn when there is news of them, not each time that the list of workers above is.
function Timeline({ workers, lanes, seconds, setSeconds }) {
  const [asTable, setAsTable] = useState(false);
  const known = JSON.stringify(workers.map(({ id, name, slots, gpus }) => [id, name, slots, gpus]));
  const drawn = useMemo(() => {
    const Shown = asTable ? AttemptTable : Lanes;
    return lanes && html`<${Shown} workers=${workers} attempts=${lanes.attempts} seconds=${Number(seconds)} now=${lanes.at} />`;
  }, [known, lanes, seconds, asTable]);
  return html`
    <section class="card pad" aria-label="What ran when">
      <div class="chart-head"><h2>What ran when</h2><div class="chart-controls"><${Choice} label="Time shown" options=${WINDOWS} value=${seconds} onChange=${setSeconds} />
        <button class="small quiet" aria-pressed=${asTable} onClick=${() => setAsTable(!asTable)}>Table</button></div></div>
      ${drawn}
    </section>`;
}

export function Workers() {
  const [workers, setWorkers] = useState(null);
  const [error, setError] = useState(null);
  const [seconds, setSeconds] = useQuery("window", "3600");
  const lanes = useLanes(seconds);
  const now = useClock(LANES_POLL);
  useEffect(() => {
    document.title = "Fleet · Tuner";
    let gone = false;
    let timer;
    let asked = false;
    const source = new Source();
    source.open();
    const read = async () => {
      if (isAway() && asked) {
        source.set("paused");
      } else {
        asked = true;
        try {
          const answer = await get("/v1/workers");
          if (gone) return;
          setWorkers(answer.items ?? answer);
          setError(null);
          source.set("live");
        } catch (failure) {
          if (gone) return;
          setError(failure);
          source.set("reconnecting");
        }
      }
      timer = setTimeout(read, POLL);
    };
    read();
    return () => {
      gone = true;
      clearTimeout(timer);
      source.close();
    };
  }, []);
  if (!workers) return error ? html`<${Failure} error=${error} what="workers" />` : html`<${Loading} />`;
  if (!workers.length) {
    return html`<div class="page-head"><h1>Fleet</h1></div>
      <${Empty} title="No workers yet"><p>A worker leases trials over HTTP and runs them on its machine's GPUs or CPUs. Start one anywhere that reaches this server:</p>
        <${Command} text=${`tuner worker --server ${location.origin}`} /><//>`;
  }
  const heard = workers.filter((worker) => now - Date.parse(worker.seen_at) <= SILENT_AFTER);
  const sum = (list, read) => list.reduce((total, worker) => total + read(worker), 0);
  const rank = (worker) => (heard.includes(worker) ? 0 : 1);
  return html`
    <div class="page-head"><h1>Fleet</h1></div>
    <${FleetAlerts} workers=${workers} heard=${heard} attempts=${lanes?.attempts ?? []} now=${now} />
    <dl class="strip">
      <div class="stat main"><dt>Working now</dt>
        <dd class="figure">${formatCount(sum(heard, ({ running }) => running))}<span class="muted"> / ${formatCount(sum(heard, ({ slots }) => slots))}</span>
        </dd><dd class="sub">slots busy</dd></div>
      <div class="stat"><dt>Workers</dt><dd class="figure">${formatCount(heard.length)}</dd>
        <dd class="sub">${workers.length - heard.length ? `${workers.length - heard.length} silent` : "all heard from"}</dd></div>
      <div class="stat"><dt>GPUs</dt><dd class="figure">${formatCount(sum(heard, ({ gpus }) => gpus.length))}</dd>
        <dd class="sub">${[...new Set(heard.flatMap(({ gpus }) => gpus))].join(", ") || "trials run on CPUs"}</dd></div>
    </dl>
    <div class="card table-card"><div class="scroll" tabindex="0" role="region" aria-label="List of workers"><table class="list still">
      <thead><tr><th scope="col">Worker</th><th scope="col">State</th><th scope="col">Slots</th><th scope="col">GPUs</th>
        <th scope="col" class="right">CPUs</th><th scope="col" class="right">Memory</th><th scope="col">CPUs now</th><th scope="col">GPUs now</th><th scope="col">Version</th>
        <th scope="col">Seen</th></tr></thead>
      <tbody>${[...workers]
        .sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name))
        .map((worker) => {
          const { word, icon, tone } = liveness(worker, now);
          return html`<tr key=${worker.id} class=${rank(worker) ? "stale" : ""}>
            <td class="name"><span title=${worker.name}>${worker.name}</span>${worker.host && worker.host !== worker.name && html` <span class="muted">${worker.host}</span>`}</td>
          <td><span class="state" data-tone=${tone}><${Icon} name=${icon} />${word}</span></td>
            <td><${Slots} running=${worker.running} slots=${worker.slots} /></td>
          <td class="gpus" title=${formatGpus(worker.gpus)}>${formatGpus(worker.gpus) || html`<span class="muted">none</span>`}</td>
            <td class="right">${formatNumber(worker.cpus)}</td><td class="right">${worker.memory ? formatBytes(worker.memory) : "–"}</td>
          <${UsageCell} worker=${worker} />
          <td class="muted">${worker.version}</td><td class="muted"><${Ago} at=${worker.seen_at} /></td></tr>`;
        })}</tbody></table></div></div>
    <${Timeline} workers=${workers} lanes=${lanes} seconds=${seconds} setSeconds=${setSeconds} />`;
}
