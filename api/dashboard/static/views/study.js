// One study: what it has reached, how it goes, what can be done; below, the tabs.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { post } from "../api.js";
import { Confirm } from "../controls.js";
import { AddTrial } from "../enqueue.js";
import { useStudyFeed } from "../feed.js";
import { FilterBar, filteredFeed, useFilter } from "../filter.js";
import { formatCount } from "../format.js";
import { Banner, Failure, Loading } from "../notices.js";
import { Link, useQuery } from "../router.js";
import { mayWrite, useCaller } from "../session.js";
import { Icon, State, STUDY_STATES, TRIAL_STATES } from "../states.js";
import { Strip } from "../strip.js";
import { STATES } from "../trials.js";
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
  const [adding, add] = useState(false);
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
    cancel: ["Cancel this study?", "Running trials end at their next report and count as failed. This cannot be undone.", "Cancel the study", study.name],
  };
  return html`
    <div class="actions">
      ${["RUNNING", "PAUSED"].includes(study.state) && html`<button onClick=${() => add(true)}>Add trial</button>`}
      ${Object.entries(ACTIONS)
        .filter(([, { when }]) => when.includes(study.state))
        .map(
          ([verb, { label, title }]) => html`
        <button key=${verb} disabled=${busy} title=${title} class=${verb === "cancel" ? "danger-quiet" : ""}
          onClick=${() => (questions[verb] ? ask(verb) : act(verb))}>${label}</button>`,
        )}
    </div>
    ${adding && html`<${AddTrial} feed=${feed} onClose=${() => add(false)} />`}
    ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
    ${
      asking &&
      html`<${Confirm} title=${questions[asking][0]} action=${questions[asking][2]} word=${questions[asking][3]} what="the study's name" onConfirm=${() => act(asking)} onClose=${() => ask(null)}>
        ${questions[asking][1]}<//>`
    }`;
}

// States of trials to choose from, each with its count among those that pass the filter; the choice holds on every tab.
function StateChips({ trials, version, states, setStates }) {
  const counts = useMemo(() => trials.counts(), [trials, version]);
  const toggle = (state) => setStates(states.includes(state) ? states.filter((other) => other !== state) : [...states, state]);
  return html`
    <div class="chips" role="group" aria-label="States shown">${STATES.map(
      (state) => html`
      <button class="chip" data-tone=${TRIAL_STATES[state].tone} aria-pressed=${states.includes(state)}
        disabled=${!counts[state] && !states.includes(state)} onClick=${() => toggle(state)}>
        <${Icon} name=${TRIAL_STATES[state].icon} />${TRIAL_STATES[state].word}<span class="count">${formatCount(counts[state])}</span>
      </button>`,
    )}</div>`;
}

const TABS = [
  ["overview", "Overview"],
  ["trials", "Trials"],
  ["explore", "Explore"],
  ["compare", "Compare"],
  ["configuration", "Configuration"],
];

const TRIAL_COUNTS = STATES.map((state) => state.toLowerCase()); // what the api counts besides is part of these
const FILTERED = ["overview", "trials", "explore"];

// As tabs go: one stop for the Tab key, arrows lead from one to the next. On a narrow screen the open one is scrolled into sight.
function Tabs({ open, setTab, total }) {
  const list = useRef(null);
  useEffect(() => {
    list.current.querySelector('[aria-selected="true"]').scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [open]);
  const onKeyDown = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = TABS.findIndex(([key]) => key === open);
    const next = (at + by + TABS.length) % TABS.length;
    setTab(TABS[next][0]);
    list.current.children[next].focus();
  };
  return html`
    <div class="tabs" role="tablist" aria-label="Views of the study" ref=${list} onKeyDown=${onKeyDown}>
      ${TABS.map(
        ([
          key,
          label,
        ]) => html`<button role="tab" id=${`tab-${key}`} aria-selected=${key === open} tabindex=${key === open ? 0 : -1} aria-controls="panel" onClick=${() => setTab(key)}>${label}
        ${key === "trials" && html`<span class="count">${formatCount(total)}</span>`}</button>`,
      )}
    </div>`;
}

export function Study({ params }) {
  const { feed, version } = useStudyFeed(params.study);
  const [tab, setTab] = useQuery("tab", "overview");
  const filter = useFilter(feed, version);
  const [stateText, setStateText] = useQuery("state");
  const states = useMemo(() => stateText.split(",").filter((state) => STATES.includes(state)), [stateText]);
  // The same object until something changes, so that what was worked out of it is remembered.
  const passing = useMemo(() => feed?.loaded && filteredFeed(feed, filter.numbers), [feed, feed?.loaded, version, filter.numbers]);
  const shown = useMemo(() => passing && filteredFeed(passing, null, states), [passing, states, version]);
  const caller = useCaller();
  const name = feed?.study?.name;
  useEffect(() => {
    document.title = `${name ?? "Study"} · Tuner`;
  }, [name]);
  if (feed?.error && !feed.loaded) return html`<${Failure} error=${feed.error} what="study" />`;
  if (!feed?.loaded) return html`<${Loading} />`;
  const { study } = feed;
  const open = TABS.some(([key]) => key === tab) ? tab : "overview";
  const Panel = { trials: TrialsTable, explore: Explore, compare: Levels, configuration: Configuration }[open] ?? Overview;
  const total = TRIAL_COUNTS.reduce((sum, state) => sum + study.counts[state], 0);
  return html`
    <nav class="crumbs" aria-label="Breadcrumb"><${Link} href="/studies">Studies<//></nav>
    <div class="page-head">
      <div class="title"><h1 title=${study.name}>${study.name}</h1><${State} of=${STUDY_STATES} state=${study.state} reason=${study.reason} /></div>
      ${mayWrite(caller) && html`<${Actions} feed=${feed} />`}
    </div>
    <${Strip} feed=${feed} />
    <${Tabs} open=${open} setTab=${setTab} total=${total} />
    <div id="panel" role="tabpanel" aria-labelledby=${`tab-${open}`}>
      ${
        FILTERED.includes(open) &&
        total > 0 &&
        html`<div class="selection"><${FilterBar} filter=${filter} total=${total} />
        <${StateChips} trials=${passing.trials} version=${version} states=${states} setStates=${(chosen) => setStateText(chosen.join(","))} /></div>`
      }
      <${Panel} key=${open} feed=${shown} study=${study} version=${version} filter=${{ ...filter, states }} />
    </div>`;
}
