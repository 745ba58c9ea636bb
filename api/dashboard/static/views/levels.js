// The levels of one parameter of a study held against each other.

import { html } from "../vendor/htm-preact.js";
import { get, isOutage } from "../api.js";
import { useAsked } from "../asking.js";
import { ComparisonView } from "../comparison.js";
import { Select } from "../controls.js";
import { Empty, Failure, Loading } from "../notices.js";
import { useOccasions } from "../occasions.js";
import { useQuery } from "../router.js";

// The parameter to begin with: the one the study compares, else its first categorical one, else its first.
export function first(spec) {
  const names = Object.keys(spec.space ?? {});
  return spec.compare?.by ?? names.find((name) => spec.space[name].type === "categorical") ?? names[0];
}

export function Levels({ feed, study }) {
  const names = Object.keys(study.spec.space ?? {});
  const [by, setBy] = useQuery("by", first(study.spec) ?? "");
  const [metric, setMetric] = useQuery("objective", feed.objectives[0]?.name ?? "");
  const finished = study.counts.complete + study.counts.pruned + study.counts.fail;
  const occasion = useOccasions(finished);
  const question = `${feed.path}/compare?by=${encodeURIComponent(by)}&metric=${encodeURIComponent(metric)}`;
  const { answer, error } = useAsked(({ signal }) => get(question, { signal }), { question, occasion, when: Boolean(by && occasion) });
  if (!by) return html`<${Empty} title="Nothing to compare"><p>This study has no search space.</p><//>`;
  if (!finished) return html`<${Empty} title="Nothing to compare yet"><p>No trial has finished.</p><//>`;
  return html`
    <div class="filters about">
      <${Select} label="Compare by" value=${by} options=${names.map((name) => [name, `by ${name}`])} onChange=${setBy} />
      ${feed.objectives.length > 1 && html`<${Select} label="Objective" value=${metric} options=${feed.objectives.map(({ name }) => [name, name])} onChange=${setMetric} />`}
    </div>
    ${
      answer
        ? html`<${ComparisonView} comparison=${answer} study=${study} />`
        : !error
          ? html`<${Loading} />`
          : isOutage(error)
            ? html`<${Failure} error=${error} what="comparison" heading="h2" />`
            : html`<${Empty} title="Not comparable yet"><p>${error.message}</p><//>`
    }`;
}
