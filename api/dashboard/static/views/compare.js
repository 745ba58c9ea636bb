// Studies held against each other; which ones stands in the address.

import { html, useEffect } from "../vendor/htm-preact.js";
import { get, isOutage } from "../api.js";
import { useAsked } from "../asking.js";
import { ComparisonView } from "../comparison.js";
import { Empty, Failure, Loading } from "../notices.js";
import { Link, useQuery } from "../router.js";

const INTERVAL = 10_000;

// {comparison, studies, revisions}: of the studies named, compared anew where one of them has changed since `known`.
async function compare(chosen, known, signal) {
  const names = [...new Set(chosen.split(",").filter(Boolean))];
  const studies = await Promise.all(names.map((name) => get(`/v1/studies/${encodeURIComponent(name)}`, { signal })));
  const revisions = studies.map(({ id, revision }) => `${id}:${revision}`).join();
  if (known?.revisions === revisions) return known;
  const comparison = await get(`/v1/compare?studies=${encodeURIComponent(chosen)}`, { signal });
  return { comparison, studies, revisions };
}

export function Compare() {
  const [chosen] = useQuery("studies");
  const { answer, error } = useAsked(({ known, signal }) => compare(chosen, known, signal), { question: chosen, interval: INTERVAL, tells: true });
  useEffect(() => {
    document.title = "Compare · Tuner";
  }, []);
  return html`
    <nav class="crumbs" aria-label="Breadcrumb"><${Link} href="/studies">Studies<//></nav>
    <div class="page-head"><h1>Compare studies</h1></div>
    ${
      answer
        ? html`<${ComparisonView} comparison=${answer.comparison} studies=${answer.studies} />`
        : !error
          ? html`<${Loading} />`
          : isOutage(error)
            ? html`<${Failure} error=${error} what="comparison" heading="h2" />`
            : html`<${Empty} title="These cannot be compared"><p>${error.message}</p><p><${Link} href="/studies">Choose studies<//></p><//>`
    }`;
}
