// A study at a glance: its charts, and the trials that lead.

import { html } from "../vendor/htm-preact.js";
import { Advice } from "../advice.js";
import { LearningCurves } from "../charts/curves.js";
import { History } from "../charts/history.js";
import { ParallelCoordinates } from "../charts/parallel.js";
import { Pareto } from "../charts/pareto.js";
import { Command } from "../controls.js";
import { formatDuration, formatNumber, formatParam } from "../format.js";
import { Empty } from "../notices.js";
import { Link, navigate, trialAddress } from "../router.js";

const NUM_LEADING = 10;

function ParameterCell({ value, numeric }) {
  const title = value === undefined ? "absent by its condition" : String(value);
  return html`<td class=${numeric ? "right mono" : "mono"} title=${title}>${formatParam(value)}</td>`;
}

// Why there are no trials.
function NoTrials({ study }) {
  const running = study.state === "RUNNING";
  const external = study.spec.trial?.executor === "external";
  const asked = external ? "Trials appear when a client asks for them." : "The search makes a trial when a worker asks for one. Start a worker:";
  return html`
    <${Empty} title="No trials yet">
      <p>${running ? asked : "This study was never given a trial."}</p>
      ${running && !external && html`<${Command} text=${`tuner worker --server ${location.origin}`} />`}
    <//>`;
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
      <div class="scroll" tabindex="0" role="region" aria-label="Leading trials"><table class="list">
        <thead><tr><th scope="col">Trial</th><th scope="col" class="right">${objective.name}</th>
          <th scope="col" class="right">Took</th>${names.map((name) => html`<th scope="col" class=${numeric[name] ? "right" : ""}>${name}</th>`)}</tr></thead>
        <tbody>${ranked.map(
          (number) => html`
          <tr key=${number} onClick=${(event) => event.target.closest("a") || navigate(trialAddress(study.id, number))}>
            <td><${Link} href=${trialAddress(study.id, number)}>${number}<//></td>
            <td class="right"><b class="figure" title=${String(trials.value(objective.name, number))}>${formatNumber(trials.value(objective.name, number))}</b></td>
            <td class="right">${formatDuration(trials.duration(number))}</td>
            ${names.map((name) => html`<${ParameterCell} value=${trials.params[name][number]} numeric=${numeric[name]} />`)}
          </tr>`,
        )}</tbody>
      </table></div>
    </section>`;
}

export function Overview({ feed, study, version }) {
  const { objectives, trials } = feed;
  const objective = objectives[0];
  if (!objective) return html`<${Empty} title="This study has no objective"><p>Nothing can be drawn.</p><//>`;
  if (!trials.length) return html`<${NoTrials} study=${study} />`;
  const shared = { feed, study, objective, version };
  return html`
    <div class="charts">
      ${objectives.length > 1 ? html`<${Pareto} ...${shared} />` : html`<${History} ...${shared} />`}
      <${LearningCurves} ...${shared} />
      <${ParallelCoordinates} ...${shared} />
    </div>
    <${Advice} feed=${feed} study=${study} />
    <${Leading} ...${shared} />`;
}
