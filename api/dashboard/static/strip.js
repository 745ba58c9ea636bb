// The figures above a study's tabs: what it has reached and since when, how far it is, what it has cost, when it will be done.

import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { paretoFront } from "./charts/pareto.js";
import { bestSoFar, points } from "./charts/history.js";
import { isAway } from "./connection.js";
import { useClock } from "./controls.js";
import { decodeNumber, formatCount, formatDuration, formatNumber, formatRepeated, isValue, objectiveLabel } from "./format.js";
import { Link, trialAddress } from "./router.js";
import { Progress } from "./states.js";
import { remembered } from "./trials.js";

const INTERVAL = 20_000; // of the question what the study has cost

const NUM_ENDS = 30;
const MANY = 5000; // complete trials

// Finished trials a second over the last thirty; null while fewer than three have finished.
export const rate = (trials) => remembered(trials, "rate", () => rateOf(trials));

function rateOf(trials) {
  const ends = []; // the latest, ascending
  for (const number of trials.numbers()) {
    const end = trials.finished[number];
    if (!Number.isFinite(end) || (ends.length === NUM_ENDS && end <= ends[0])) continue;
    ends.splice(ends.findLastIndex((other) => other <= end) + 1, 0, end);
    if (ends.length > NUM_ENDS) ends.shift();
  }
  return ends.length < 3 || ends.at(-1) === ends[0] ? null : ((ends.length - 1) * 1000) / (ends.at(-1) - ends[0]);
}

function formatRate(perSecond) {
  if (perSecond === null) return "–";
  if (perSecond >= 1) return `${formatNumber(perSecond, 2)} / s`;
  return perSecond * 60 >= 1 ? `${formatNumber(perSecond * 60, 2)} / min` : `${formatNumber(perSecond * 3600, 2)} / h`;
}

// What the best gained over the best before it: {gain, sign, over}, the difference and the number of the one it beat; null for a first best.
export const lastGain = (trials, objective) => remembered(trials, `gain ${objective.direction} ${objective.name}`, () => lastGainOf(trials, objective));

function lastGainOf(trials, objective) {
  const feasible = points(trials, objective, "COMPLETE", "trial").filter(([, , number]) => !trials.isInfeasible(number));
  const steps = bestSoFar(feasible, objective.direction === "maximize");
  const numbers = [...new Set(steps.map(([, , number]) => number))];
  if (numbers.length < 2) return null;
  const [over, best] = numbers.slice(-2);
  const gain = trials.value(objective.name, best) - trials.value(objective.name, over);
  if (!Number.isFinite(gain)) return null; // of an infinite value, or over one
  return { gain: Math.abs(gain), sign: gain < 0 ? "−" : "+", over };
}

function useUsage(feed) {
  const [usage, set] = useState(null);
  const { running, complete, pruned, fail } = feed.study.counts;
  useEffect(() => {
    let gone = false;
    const ask = () =>
      get(`${feed.path}/usage`)
        .then((answer) => gone || set(answer))
        .catch(() => {});
    ask();
    const timer = running ? setInterval(() => isAway() || ask(), INTERVAL) : null;
    return () => {
      gone = true;
      clearInterval(timer);
    };
  }, [feed.path, running > 0, running > 0 ? 0 : complete + pruned + fail]);
  return usage;
}

function Stat({ label, value, title, children, main = false }) {
  return html`<div class=${main ? "stat main" : "stat"}><dt>${label}</dt><dd class="figure" title=${title}>${value}</dd><dd class="sub">${children}</dd></div>`;
}

// How many trials are on the front of all objectives.
function FrontStat({ feed }) {
  const { objectives, trials } = feed;
  const complete = trials.counts().COMPLETE;
  // Of very many trials anew only when a hundredth is new: each of them is held against the whole front.
  const step = complete < MANY ? complete : Math.round(100 * Math.log(complete));
  const size = useMemo(() => {
    const found = trials
      .order({ states: ["COMPLETE"] })
      .filter((number) => !trials.isInfeasible(number))
      .map((number) => objectives.map(({ name }) => trials.value(name, number)))
      .filter((point) => point.every(isValue));
    return paretoFront(found, objectives).length;
  }, [feed.path, step]);
  const title = objectives.map(({ name, direction }) => `${direction} ${name}`).join(", ");
  return html`<${Stat} main=${true} label="Pareto front" value=${html`${formatCount(size)} <span class="muted">${size === 1 ? "trial" : "trials"}</span>`} title=${title}>${objectives.map(objectiveLabel).join(", ")}<//>`;
}

function BestStat({ feed }) {
  const { study, objectives, trials } = feed;
  const objective = objectives[0];
  const value = decodeNumber(study.best_value);
  const repeated = study.best_repeats; // then what single trials gained says little
  const gained = objective && study.best_trial !== null && !repeated ? lastGain(trials, objective) : null;
  const shown = repeated ? formatRepeated(repeated) : formatNumber(value);
  return html`
    <${Stat} main=${true} label=${`Best ${objective?.name ?? "value"} ${objective?.direction === "maximize" ? "↑" : "↓"}`} value=${shown} title=${String(value)}>
      ${repeated && `over ${repeated.num_seeds} ${repeated.num_seeds === 1 ? "seed" : "seeds"}, `}${study.best_trial === null ? (study.counts.infeasible ? "no feasible trial yet" : "no complete trial yet") : html`<${Link} href=${trialAddress(study.id, study.best_trial)}>trial ${study.best_trial}<//>`}
      ${gained && html`, ${gained.sign}${formatNumber(gained.gain, 3)} over <${Link} href=${trialAddress(study.id, gained.over)}>trial ${gained.over}<//>`}
    <//>`;
}

function GpuStat({ feed, usage }) {
  const limit = feed.limits.max_gpu_seconds ?? null;
  const used = usage?.gpu_seconds ?? 0;
  if (!used && limit === null && !usage?.running_gpus) return null;
  const hours = (seconds) => `${formatNumber(seconds / 3600, 3)} h`;
  return html`
    <${Stat} label="GPU time" value=${html`${hours(used)}${limit === null ? "" : html`<span class="muted"> / ${hours(limit)}</span>`}`}>
      ${limit !== null && html`<div class="progress" role="img" aria-label=${`${Math.round((100 * used) / limit)} percent of the GPU time used`}><span data-tone="complete" style=${{ width: `${Math.min(100, (100 * used) / limit)}%` }}></span></div>`}
      ${usage?.running_gpus ? `${formatNumber(usage.running_gpus, 3)} ${usage.running_gpus === 1 ? "GPU" : "GPUs"} at work` : "none at work"}
    <//>`;
}

// When the first of its limits will be reached, in seconds; null where nothing says it.
export function remaining({ study, limits, finished, speed, elapsed, usage }) {
  if (study.state !== "RUNNING") return null;
  const ends = [];
  if (limits.max_trials > finished && speed) ends.push((limits.max_trials - finished) / speed);
  if (limits.timeout) ends.push(Math.max(0, limits.timeout - elapsed));
  if (limits.max_gpu_seconds && usage?.running_gpus) ends.push(Math.max(0, limits.max_gpu_seconds - usage.gpu_seconds) / usage.running_gpus);
  return ends.length ? Math.min(...ends) : null;
}

export function Strip({ feed }) {
  const { study, trials, limits } = feed;
  const { counts } = study;
  const now = useClock();
  const usage = useUsage(feed);
  const limit = limits.max_trials ?? null;
  const finished = counts.complete + counts.pruned + counts.fail;
  const elapsed = ((study.finished_at ? Date.parse(study.finished_at) : now) - Date.parse(study.created_at)) / 1000;
  // At its end a study closes all its paused trials at once: then the last ends say nothing.
  const speed = study.finished_at ? finished / Math.max(elapsed, 1) : rate(trials);
  const left = remaining({ study, limits, finished, speed, elapsed, usage });
  const parts = [
    [counts.complete, "complete"],
    [counts.infeasible, "infeasible"],
    [counts.pruned, "pruned"],
    [counts.fail, "failed"],
    [counts.running, "running"],
    [counts.waiting, "waiting"],
  ];
  // What auto has become, once the search has decided.
  const sampler = study.strategy?.sampler.name ?? study.spec.sampler?.name ?? "auto";
  const pruner = study.strategy?.pruner.name ?? study.spec.pruner?.name ?? "auto";
  return html`
    <dl class="strip">
      ${feed.objectives.length > 1 ? html`<${FrontStat} feed=${feed} />` : html`<${BestStat} feed=${feed} />`}
      <${Stat} label="Trials" value=${html`${formatCount(finished)}${limit === null ? "" : html`<span class="muted"> / ${formatCount(limit)}</span>`}`}>
        <${Progress} counts=${counts} limit=${limit} />
        ${
          parts
            .filter(([count]) => count > 0)
            .map(([count, word]) => `${formatCount(count)} ${word}`)
            .join(" · ") || "none yet"
        }
      <//>
      <${Stat} label="Speed" value=${formatRate(speed)}>${left === null ? "finished trials" : `about ${formatDuration(left)} to go`}<//>
      <${Stat} label=${study.finished_at ? "Took" : "Running for"} value=${formatDuration(elapsed)}>
        ${limits.timeout ? `limit ${formatDuration(limits.timeout)}` : "no time limit"}
      <//>
      <${GpuStat} feed=${feed} usage=${usage} />
      <${Stat} label="Search" value=${sampler}>${pruner === "none" ? "no pruning" : `pruner ${pruner}`}<//>
    </dl>`;
}
