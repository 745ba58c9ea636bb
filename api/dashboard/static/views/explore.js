// A study looked into: which parameters matter, where the good values lie, how they are spread. Every panel shows the trials that pass the filter.

import { html } from "../vendor/htm-preact.js";
import { Correlation } from "../charts/correlation.js";
import { Distribution } from "../charts/distribution.js";
import { Importance, useImportance } from "../charts/importance.js";
import { ParallelCoordinates } from "../charts/parallel.js";
import { Pareto } from "../charts/pareto.js";
import { Plane } from "../charts/plane.js";
import { Slices } from "../charts/slices.js";
import { Select } from "../controls.js";
import { NoTrials } from "../no_trials.js";
import { Empty } from "../notices.js";
import { useQuery } from "../router.js";
import { InTurn } from "../turns.js";

function Panels({ feed, study, version, objective, filter }) {
  const [method, setMethod] = useQuery("importance", "ped_anova");
  const answer = useImportance(feed, objective, method);
  const shared = { feed, study, version, objective, filter, shares: answer.shares };
  return html`
    <div class="charts">
      ${feed.objectives.length > 1 && html`<${InTurn}>${() => html`<${Pareto} ...${shared} wide=${true} />`}<//>`}
      ${[ParallelCoordinates, Plane, Correlation].map((Panel) => html`<${InTurn}>${() => html`<${Panel} ...${shared} />`}<//>`)}
      <${Importance} ...${shared} answer=${answer} method=${method} setMethod=${setMethod} />
      <${InTurn}>${() => html`<${Distribution} ...${shared} />`}<//>
    </div>
    <${Slices} ...${shared} />`;
}

export function Explore({ feed, study, version, filter }) {
  const { objectives, trials } = feed;
  const [name, setName] = useQuery("objective", objectives[0]?.name);
  const objective = objectives.find((found) => found.name === name) ?? objectives[0];
  if (!objective) return html`<${Empty} title="This study has no objective"><p>Nothing can be drawn.</p><//>`;
  if (!trials.length) return html`<${NoTrials} study=${study} title="Nothing to explore yet"><p>The first panels appear with two complete trials.</p><//>`;
  return html`
    ${objectives.length > 1 && html`<p class="about"><${Select} label="Objective" value=${objective.name} onChange=${setName} options=${objectives.map((found) => [found.name, found.name])} /></p>`}
    <${Panels} key=${objective.name} feed=${feed} study=${study} version=${version} objective=${objective} filter=${filter} />`;
}
