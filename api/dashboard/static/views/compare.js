// Studies held against each other; which ones stands in the address.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { get } from "../api.js";
import { ComparisonView } from "../comparison.js";
import { setConnection } from "../connection.js";
import { Empty, Loading } from "../notices.js";
import { Link, useQuery } from "../router.js";

export function Compare() {
  const [chosen] = useQuery("studies");
  const [{ comparison, studies, error }, set] = useState({ comparison: null, studies: [], error: null });
  useEffect(() => {
    document.title = "Compare · Tuner";
    let gone = false;
    const names = [...new Set(chosen.split(",").filter(Boolean))];
    Promise.all([get(`/v1/compare?studies=${encodeURIComponent(chosen)}`), ...names.map((name) => get(`/v1/studies/${encodeURIComponent(name)}`))])
      .then(([answer, ...studies]) => {
        if (gone) return;
        setConnection("live");
        set({ comparison: answer, studies, error: null });
      })
      .catch((failure) => gone || set({ comparison: null, studies: [], error: failure }));
    return () => {
      gone = true;
    };
  }, [chosen]);
  return html`
    <nav class="crumbs" aria-label="Breadcrumb"><${Link} href="/studies">Studies<//></nav>
    <div class="page-head"><h1>Compare studies</h1></div>
    ${
      error
        ? html`<${Empty} title="These cannot be compared"><p>${error.message}</p><p><${Link} href="/studies">Choose studies<//></p><//>`
        : comparison
          ? html`<${ComparisonView} comparison=${comparison} studies=${studies} />`
          : html`<${Loading} />`
    }`;
}
