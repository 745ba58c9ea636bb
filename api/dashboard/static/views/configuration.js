// What was submitted: the search space as a table, the whole specification as text, notes and tags.

import { html } from "../vendor/htm-preact.js";
import { Ago, CopyButton } from "../controls.js";
import { formatNumber, formatParam } from "../format.js";

function range(parameter) {
  if (parameter.type === "categorical") return (parameter.choices ?? []).map(formatParam).join(", ");
  const parts = [`${formatNumber(parameter.low)} to ${formatNumber(parameter.high)}`];
  if (parameter.log) parts.push("log");
  if (parameter.step) parts.push(`step ${formatNumber(parameter.step)}`);
  return parts.join(", ");
}

function condition(when) {
  const SIGNS = { gt: ">", ge: "≥", lt: "<", le: "≤" };
  const compare = (bounds) =>
    Object.entries(bounds)
      .map(([sign, bound]) => `${SIGNS[sign] ?? sign} ${formatParam(bound)}`)
      .join(" and ");
  return Object.entries(when)
    .map(([name, wanted]) => {
      if (Array.isArray(wanted)) return `${name} is ${wanted.map(formatParam).join(" or ")}`;
      return `${name} ${wanted !== null && typeof wanted === "object" ? compare(wanted) : `is ${formatParam(wanted)}`}`;
    })
    .join("; ");
}

export function Configuration({ study }) {
  const text = JSON.stringify(study.spec, null, 2);
  const space = Object.entries(study.spec.space ?? {});
  return html`
    <div class="columns">
      <section class="card table-card"><h2>Search space</h2>
        ${
          space.length
            ? html`<div class="scroll"><table class="list">
          <thead><tr><th scope="col">Parameter</th><th scope="col">Type</th><th scope="col">Range</th><th scope="col">Only when</th></tr></thead>
          <tbody>${space.map(
            ([name, parameter]) => html`<tr><td class="mono">${name}</td><td>${parameter.type}</td>
            <td class="wrap">${range(parameter)}</td><td class="wrap muted">${parameter.when ? condition(parameter.when) : ""}</td>
            </tr>`,
          )}</tbody>
        </table></div>`
            : html`<p class="chart-note">The space is defined as trials are asked for (define-by-run).</p>`
        }
      </section>
      <section class="card pad"><h2>About</h2>
        <dl class="facts">
          <dt>Created</dt><dd><${Ago} at=${study.created_at} />${study.created_by && ` by ${study.created_by}`}</dd>
          <dt>Id</dt><dd class="mono">${study.id}</dd>
          <dt>Objectives</dt><dd>${(study.spec.objectives ?? []).map(({ name, direction }) => `${direction} ${name}`).join(", ")}</dd>
          <dt>Executor</dt><dd>${study.spec.trial?.executor ?? "–"}</dd>
          ${study.tags.length > 0 && html`<dt>Tags</dt><dd>${study.tags.map((tag) => html`<span class="tag">${tag}</span>`)}</dd>`}
          ${study.notes && html`<dt>Notes</dt><dd class="notes">${study.notes}</dd>`}
        </dl>
      </section>
    </div>
    <section class="card pad"><div class="chart-head"><h2>Specification</h2>
      <${CopyButton} text=${text} /></div><pre class="code" tabindex="0">${text}</pre></section>`;
}
