// The levels of one parameter of a study held against each other.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { get } from "../api.js";
import { ComparisonView } from "../comparison.js";
import { Select } from "../controls.js";
import { Empty, Loading } from "../notices.js";
import { useQuery } from "../router.js";

const INTERVAL = 10_000; // of a changing study: a comparison reads all trials

// The parameter to begin with: the one the study compares, else its first categorical one, else its first.
export function first(spec) {
  const names = Object.keys(spec.space ?? {});
  return spec.compare?.by ?? names.find((name) => spec.space[name].type === "categorical") ?? names[0];
}

export function Levels({ feed, study }) {
  const names = Object.keys(study.spec.space ?? {});
  const [by, setBy] = useQuery("by", first(study.spec) ?? "");
  const [metric, setMetric] = useQuery("objective", feed.objectives[0]?.name ?? "");
  const [{ comparison, error }, set] = useState({ comparison: null, error: null });
  const finished = study.counts.complete + study.counts.pruned + study.counts.fail;
  const [asked, ask] = useState(finished);
  useEffect(() => {
    if (asked === finished) return undefined;
    const timer = setTimeout(() => ask(finished), INTERVAL);
    return () => clearTimeout(timer);
  }, [finished]);
  useEffect(() => {
    if (!by || !asked) return undefined;
    let gone = false;
    get(`${feed.path}/compare?by=${encodeURIComponent(by)}&metric=${encodeURIComponent(metric)}`)
      .then((answer) => gone || set({ comparison: answer, error: null }))
      .catch((failure) => gone || set({ comparison: null, error: failure }));
    return () => {
      gone = true;
    };
  }, [feed.path, by, metric, asked]);
  if (!by) return html`<${Empty} title="Nothing to compare"><p>This study has no search space.</p><//>`;
  if (!finished) return html`<${Empty} title="Nothing to compare yet"><p>No trial has finished.</p><//>`;
  return html`
    <div class="filters about">
      <${Select} label="Compare by" value=${by} options=${names.map((name) => [name, `by ${name}`])} onChange=${setBy} />
      ${feed.objectives.length > 1 && html`<${Select} label="Objective" value=${metric} options=${feed.objectives.map(({ name }) => [name, name])} onChange=${setMetric} />`}
    </div>
    ${error ? html`<${Empty} title="Not comparable yet"><p>${error.message}</p><//>` : comparison ? html`<${ComparisonView} comparison=${comparison} study=${study} />` : html`<${Loading} />`}`;
}
