// How much each parameter matters for the objective, as the server estimates it from the complete trials of the whole study.

import { html, useState } from "../vendor/htm-preact.js";
import { get } from "../api.js";
import { useAsked } from "../asking.js";
import { Save } from "../chart.js";
import { Choice } from "../controls.js";
import { formatNumber } from "../format.js";
import { MIN_TRIALS, useOccasions } from "../occasions.js";

const MAX_BARS = 12; // until all are asked for

// {shares, error}: asked for when the method changes and, while trials complete, now and then; an error only where there are no shares.
export function useImportance(feed, objective, method) {
  const occasion = useOccasions(feed.study.counts.complete);
  const question = `${feed.path}/importance?method=${method}&objective=${encodeURIComponent(objective.name)}`;
  const { answer, error } = useAsked(({ signal }) => get(question, { signal }), { question, occasion, when: occasion >= MIN_TRIALS });
  return { shares: answer?.importance ?? null, error: answer ? null : error };
}

export function Importance({ feed, objective, answer, method, setMethod }) {
  const { shares, error } = answer;
  const [whole, setWhole] = useState(false);
  const complete = feed.study.counts.complete;
  const entries = Object.entries(shares ?? {});
  const most = Math.max(...entries.map(([, share]) => share), 1e-9);
  const empty =
    complete < MIN_TRIALS
      ? `Needs ${MIN_TRIALS} complete trials; there ${complete === 1 ? "is" : "are"} ${complete}.`
      : error
        ? error.message
        : entries.length
          ? null
          : "Being estimated …";
  return html`
    <figure class="chart">
      <div class="chart-head"><h2 title=${objective.name}>Importance for ${objective.name}</h2>
        <div class="chart-controls"><${Choice} label="Method" value=${method} onChange=${setMethod} options=${[
          ["ped_anova", "PED-ANOVA"],
          ["fanova", "fANOVA"],
        ]} />
        ${!empty && html`<${Save} title=${`Importance for ${objective.name}`} table=${() => ({ columns: ["Parameter", "Importance"], rows: entries })} />`}</div></div>
      ${
        empty
          ? html`<p class="chart-note">${empty}</p>`
          : html`<table class="bars"><tbody>${entries.slice(0, whole ? undefined : MAX_BARS).map(
              ([name, share]) => html`
              <tr><th scope="row" class="mono" title=${name}>${name}</th>
                <td><svg role="img" aria-label=${`${Math.round(100 * share)} percent`} viewBox="0 0 100 10" preserveAspectRatio="none"><rect width=${(100 * share) / most} height="10" /></svg></td>
                <td class="right figure">${formatNumber(share, 2)}</td></tr>`,
            )}</tbody></table>
            ${entries.length > MAX_BARS && html`<button class="small" aria-expanded=${whole} onClick=${() => setWhole(!whole)}>${whole ? `The first ${MAX_BARS}` : `All ${entries.length}`}</button>`}`
      }
      <figcaption>${!empty && `Of all complete trials of the study. ${method === "fanova" ? "Share of the variance (Hutter et al. 2014)." : "What tells the best tenth of the trials from the rest (Watanabe et al. 2023)."}`}</figcaption>
    </figure>`;
}
