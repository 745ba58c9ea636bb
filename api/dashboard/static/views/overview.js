// A study at a glance: its charts, and the trials that lead.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { Advice } from "../advice.js";
import { Activity } from "../activity.js";
import { get } from "../api.js";
import { hovering } from "../chart_hover.js";
import { LearningCurves } from "../charts/curves.js";
import { History } from "../charts/history.js";
import { Importance, useImportance } from "../charts/importance.js";
import { ParallelCoordinates } from "../charts/parallel.js";
import { Pareto } from "../charts/pareto.js";
import { Ago, Select } from "../controls.js";
import { formatDuration, formatNumber, formatParam } from "../format.js";
import { NoTrials } from "../no_trials.js";
import { Empty } from "../notices.js";
import { Link, navigate, trialAddress, useQuery } from "../router.js";
import { State } from "../states.js";
import { InTurn } from "../turns.js";

const NUM_LEADING = 10;
const NUM_LATEST = 7;
const NUM_EVENTS = 3;
const MAX_LINES = 800; // of the parallel coordinates here, which a busy study redraws all the time

function ParameterCell({ value, numeric }) {
  const title = value === undefined ? "absent by its condition" : String(value);
  return html`<td class=${numeric ? "right mono" : "mono"} title=${title}>${formatParam(value)}</td>`;
}

function Leading({ feed, study, objective }) {
  const { trials } = feed;
  const ranked = trials.ranked(objective).slice(0, NUM_LEADING);
  const names = trials.paramNames();
  const numeric = Object.fromEntries(
    names.map((name) => [name, trials.params[name].every((value) => value === undefined || typeof value === "number")]),
  );
  if (!ranked.length) return null;
  return html`
    <section class="card table-card"><h2>${feed.objectives.length > 1 ? `Leading trials by ${objective.name}` : "Leading trials"}</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Leading trials"><table class="list leading">
        <thead><tr><th scope="col">Trial</th><th scope="col" class="right">${objective.name}</th>
          <th scope="col" class="right">Took</th>${names.map((name) => html`<th scope="col" title=${name} class=${numeric[name] ? "right" : ""}>${name}</th>`)}</tr></thead>
        <tbody>${ranked.map(
          (number) => html`
          <tr key=${number} ...${hovering(number)} onClick=${(event) => event.target.closest("a") || navigate(trialAddress(study.id, number))}>
            <td><${Link} href=${trialAddress(study.id, number)}>${number}<//></td>
            <td class="right"><b class="figure" title=${String(trials.value(objective.name, number))}>${formatNumber(trials.value(objective.name, number))}</b></td>
            <td class="right">${formatDuration(trials.duration(number))}</td>
            ${names.map((name) => html`<${ParameterCell} value=${trials.params[name][number]} numeric=${numeric[name]} />`)}
          </tr>`,
        )}</tbody>
      </table></div>
    </section>`;
}

// Trials in the order in which something last happened to them, the latest first.
export function latest(trials, count) {
  const found = []; // [when, number], the latest first
  for (const number of trials.numbers()) {
    const at = trials.finished[number] ?? trials.started[number] ?? 0;
    if (!(at > 0) || (found.length === count && at < found.at(-1)[0])) continue;
    // Numbers ascend: of two at the same time the later one stands first.
    const place = found.findIndex(([other]) => other <= at);
    found.splice(place < 0 ? found.length : place, 0, [at, number]);
    if (found.length > count) found.pop();
  }
  return found.map(([, number]) => number);
}

// What goes on: the trials that last started or ended, and below them what happened to the study as a whole.
function Latest({ feed, study, objective }) {
  const { trials, curves } = feed;
  const [events, set] = useState([]);
  useEffect(() => {
    let gone = false;
    get(`/v1/log?study=${study.id}&limit=${NUM_EVENTS}`)
      .then(({ items }) => gone || set(items))
      .catch(() => {});
    return () => {
      gone = true;
    };
  }, [study.id, study.state, study.counts.fail]);
  const value = (number) => {
    const final = trials.value(objective.name, number);
    const [step, last] = final === undefined ? (curves.last(number, objective.name) ?? []) : [];
    return final !== undefined ? html`<b>${formatNumber(final)}</b>` : last !== undefined ? html`${formatNumber(last)} <span class="muted step">at step ${step}</span>` : "";
  };
  return html`
    <section class="card pad latest" aria-label="Latest"><h2>Latest</h2>
      <ul>${latest(trials, NUM_LATEST).map(
        (number) => html`
        <li key=${number} ...${hovering(number)}><${Link} href=${trialAddress(study.id, number)}>${number}<//>
          <${State} state=${trials.states[number]} reason=${trials.states[number] === "FAIL" ? trials.reasons[number] : null} />
          <span class="right figure">${value(number)}</span><span class="right muted"><${Ago} at=${trials.finished[number] ?? trials.started[number]} /></span></li>`,
      )}</ul>
      ${events.length > 0 && html`<${Activity} events=${events} />`}
    </section>`;
}

export function Overview({ feed, study, version, filter }) {
  const { objectives, trials } = feed;
  const [name, setName] = useQuery("objective", objectives[0]?.name);
  const objective = objectives.find((found) => found.name === name) ?? objectives[0];
  if (!objective) return html`<${Empty} title="This study has no objective"><p>Nothing can be drawn.</p><//>`;
  if (!trials.length) return html`<${NoTrials} study=${study} />`;
  return html`
    ${objectives.length > 1 && html`<p class="about"><${Select} label="Objective" value=${objective.name} onChange=${setName} options=${objectives.map((found) => [found.name, found.name])} /></p>`}
    <${Charts} key=${objective.name} feed=${feed} study=${study} version=${version} filter=${filter} objective=${objective} />`;
}

function Charts(shared) {
  const { feed, study, objective } = shared;
  const [method, setMethod] = useQuery("importance", "ped_anova");
  const answer = useImportance(feed, objective, method);
  return html`
    <div class="charts">
      ${feed.objectives.length > 1 && html`<${InTurn}>${() => html`<${Pareto} ...${shared} wide=${true} />`}<//>`}
      <${InTurn}>${() => html`<${History} ...${shared} />`}<//>
      <${InTurn}>${() => html`<${LearningCurves} ...${shared} />`}<//>
      <${Importance} ...${shared} answer=${answer} method=${method} setMethod=${setMethod} />
      <${InTurn}>${() => html`<${Latest} ...${shared} />`}<//>
      <${InTurn}>${() => html`<${ParallelCoordinates} ...${shared} maxLines=${MAX_LINES} />`}<//>
    </div>
    <${Advice} feed=${feed} study=${study} />
    <${InTurn}>${() => html`<${Leading} ...${shared} />`}<//>`;
}
