// One study: what it has reached, how it goes, what can be done; below, the tabs.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { post } from "../api.js";
import { Confirm, useClock } from "../controls.js";
import { useStudyFeed } from "../feed.js";
import { FilterBar, filteredFeed, useFilter } from "../filter.js";
import { decodeNumber, formatCount, formatDuration, formatNumber } from "../format.js";
import { Banner, Failure, Loading } from "../notices.js";
import { Link, trialAddress, useQuery } from "../router.js";
import { mayWrite, useCaller } from "../session.js";
import { Progress, State, STUDY_STATES } from "../states.js";
import { front } from "../charts/pareto.js";
import { Configuration } from "./configuration.js";
import { Explore } from "./explore.js";
import { Levels } from "./levels.js";
import { Overview } from "./overview.js";
import { TrialsTable } from "./trials.js";

const ACTIONS = {
  pause: { label: "Pause", when: ["RUNNING"] },
  resume: { label: "Resume", when: ["PAUSED", "STOPPED"] },
  stop: { label: "Stop", when: ["RUNNING", "PAUSED"], title: "No new trials; the running ones may end" },
  cancel: { label: "Cancel", when: ["RUNNING", "PAUSED", "STOPPING"], title: "End the running trials now" },
};

function Actions({ feed }) {
  const { study } = feed;
  const [asking, ask] = useState(null);
  const [failure, setFailure] = useState(null);
  const [busy, setBusy] = useState(false);
  const act = async (verb) => {
    setBusy(true);
    setFailure(null);
    try {
      feed.replaceStudy(await post(`/v1/studies/${study.id}/${verb}`));
    } catch (error) {
      setFailure(`The study could not be changed: ${error.message}`);
    }
    setBusy(false);
  };
  const questions = {
    stop: ["Stop this study?", "No new trials will start. Those that are running may end, and then the study is over.", "Stop the study"],
    cancel: ["Cancel this study?", "Running trials end at their next report and count as failed.", "Cancel the study"],
  };
  return html`
    <div class="actions">
      ${Object.entries(ACTIONS)
        .filter(([, { when }]) => when.includes(study.state))
        .map(
          ([verb, { label, title }]) => html`
        <button key=${verb} disabled=${busy} title=${title} class=${verb === "cancel" ? "danger-quiet" : ""}
          onClick=${() => (questions[verb] ? ask(verb) : act(verb))}>${label}</button>`,
        )}
    </div>
    ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
    ${
      asking &&
      html`<${Confirm} title=${questions[asking][0]} action=${questions[asking][2]} onConfirm=${() => act(asking)} onClose=${() => ask(null)}>
        ${questions[asking][1]}<//>`
    }`;
}

// Finished trials a second over the last thirty; null while fewer than three have finished.
export function rate(trials) {
  const ends = [...trials.numbers()]
    .map((number) => trials.finished[number])
    .filter(Number.isFinite)
    .sort((a, b) => a - b)
    .slice(-30);
  return ends.length < 3 || ends.at(-1) === ends[0] ? null : ((ends.length - 1) * 1000) / (ends.at(-1) - ends[0]);
}

function formatRate(perSecond) {
  if (perSecond === null) return "–";
  if (perSecond >= 1) return `${formatNumber(perSecond, 2)} / s`;
  return perSecond * 60 >= 1 ? `${formatNumber(perSecond * 60, 2)} / min` : `${formatNumber(perSecond * 3600, 2)} / h`;
}

function Stat({ label, value, children, main = false }) {
  return html`<div class=${main ? "stat main" : "stat"}><dt>${label}</dt><dd class="figure">${value}</dd><dd class="sub">${children}</dd></div>`;
}

function BestStat({ feed }) {
  const { study, objectives, trials } = feed;
  if (objectives.length > 1) {
    const [first, second] = objectives;
    const points = trials
      .order({ states: ["COMPLETE"] })
      .map((number) => [trials.value(first.name, number), trials.value(second.name, number)])
      .filter((point) => point.every(Number.isFinite));
    const size = objectives.length === 2 ? front(points, first, second).length : null;
    const shown = size === null ? `${objectives.length} objectives` : formatCount(size);
    return html`<${Stat} main=${true} label="Pareto front" value=${shown}>${objectives.map(({ name }) => name).join(", ")}<//>`;
  }
  const objective = objectives[0];
  const value = decodeNumber(study.best_value);
  return html`
    <${Stat} main=${true} label=${`Best ${objective?.name ?? "value"} ${objective?.direction === "maximize" ? "↑" : "↓"}`} value=${formatNumber(value)}>
      ${study.best_trial === null ? "no complete trial yet" : html`<${Link} href=${trialAddress(study.id, study.best_trial)}>trial ${study.best_trial}<//>`}
    <//>`;
}

function Strip({ feed }) {
  const { study, trials, limits } = feed;
  const { counts } = study;
  const now = useClock();
  const limit = limits.max_trials ?? null;
  const finished = counts.complete + counts.pruned + counts.fail;
  const running = study.state === "RUNNING";
  const elapsed = ((study.finished_at ? Date.parse(study.finished_at) : now) - Date.parse(study.created_at)) / 1000;
  // At its end a study closes all its paused trials at once: then the last ends say nothing.
  const speed = study.finished_at ? finished / Math.max(elapsed, 1) : rate(trials);
  const parts = [
    [counts.complete, "complete"],
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
      <${BestStat} feed=${feed} />
      <${Stat} label="Trials" value=${html`${formatCount(finished)}${limit === null ? "" : html`<span class="muted"> / ${formatCount(limit)}</span>`}`}>
        <${Progress} counts=${counts} limit=${limit} />
        ${
          parts
            .filter(([count]) => count > 0)
            .map(([count, word]) => `${formatCount(count)} ${word}`)
            .join(" · ") || "none yet"
        }
      <//>
      <${Stat} label="Speed" value=${formatRate(speed)}>
        ${running && limit > finished && speed ? `about ${formatDuration((limit - finished) / speed)} to go` : "finished trials"}
      <//>
      <${Stat} label=${study.finished_at ? "Took" : "Running for"} value=${formatDuration(elapsed)}>
        ${limits.timeout ? `limit ${formatDuration(limits.timeout)}` : "no time limit"}
      <//>
      <${Stat} label="Search" value=${sampler}>${pruner === "none" ? "no pruning" : `pruner ${pruner}`}<//>
    </dl>`;
}

const TABS = [
  ["overview", "Overview"],
  ["trials", "Trials"],
  ["explore", "Explore"],
  ["compare", "Compare"],
  ["configuration", "Configuration"],
];

export function Study({ params }) {
  const { feed, version } = useStudyFeed(params.study);
  const [tab, setTab] = useQuery("tab", "overview");
  const filter = useFilter(feed, version);
  const caller = useCaller();
  const name = feed?.study?.name;
  useEffect(() => {
    document.title = `${name ?? "Study"} · Tuner`;
  }, [name]);
  if (feed?.error && !feed.loaded) return html`<${Failure} error=${feed.error} what="study" />`;
  if (!feed?.loaded) return html`<${Loading} />`;
  const { study } = feed;
  const Panel = { trials: TrialsTable, explore: Explore, compare: Levels, configuration: Configuration }[tab] ?? Overview;
  const total = Object.values(study.counts).reduce((sum, count) => sum + count, 0);
  return html`
    <nav class="crumbs" aria-label="Breadcrumb"><${Link} href="/studies">Studies<//></nav>
    <div class="page-head">
      <div class="title"><h1 title=${study.name}>${study.name}</h1><${State} of=${STUDY_STATES} state=${study.state} reason=${study.reason} /></div>
      ${mayWrite(caller) && html`<${Actions} feed=${feed} />`}
    </div>
    <${Strip} feed=${feed} />
    <div class="tabs" role="tablist" aria-label="Views of the study">
      ${TABS.map(
        ([
          key,
          label,
        ]) => html`<button role="tab" id=${`tab-${key}`} aria-selected=${key === tab} aria-controls="panel" onClick=${() => setTab(key)}>${label}
        ${key === "trials" && html`<span class="count">${formatCount(total)}</span>`}</button>`,
      )}
    </div>
    <div id="panel" role="tabpanel" aria-labelledby=${`tab-${tab}`}>
      ${["overview", "trials", "explore"].includes(tab) && total > 0 && html`<${FilterBar} filter=${filter} total=${total} />`}
      <${Panel} key=${tab} feed=${filteredFeed(feed, filter.numbers)} study=${study} version=${version} filter=${filter} />
    </div>`;
}
