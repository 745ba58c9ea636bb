// Where the search spaces of studies differ: a row a parameter, a column a study. What is the same everywhere is counted only.

import { html } from "./vendor/htm-preact.js";
import { formatCount } from "./format.js";
import { Link, studyAddress } from "./router.js";
import { describeCondition, describeRange, exact } from "./space_words.js";

// As JSON with its keys in order, so that the same parameter is the same text.
function textOf(value) {
  const sorted = (_, part) => (part !== null && typeof part === "object" && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort()) : part);
  return value === undefined ? undefined : JSON.stringify(value, sorted);
}

// Of spaces {name: parameter}: {differing: [[name, [parameter or undefined of each space]], ...], numEqual}.
export function diffSpaces(spaces) {
  const names = [...new Set(spaces.flatMap((space) => Object.keys(space)))];
  const rows = names.map((name) => [name, spaces.map((space) => space[name])]);
  const differing = rows.filter(([, parameters]) => new Set(parameters.map(textOf)).size > 1);
  return { differing, numEqual: rows.length - differing.length };
}

function Cell({ parameter, declared }) {
  if (!declared) return html`<td class="muted">not declared</td>`;
  if (!parameter) return html`<td class="muted">absent</td>`;
  return html`<td class="wrap">${parameter.type}: ${describeRange(parameter, exact)}${parameter.when && html`<div class="muted">only when ${describeCondition(parameter.when, exact)}</div>`}</td>`;
}

// `studies` as the api gives them, in the order of their columns.
export function SpaceDiff({ studies }) {
  const spaces = studies.map(({ spec }) => spec.space ?? {});
  const { differing, numEqual } = diffSpaces(spaces);
  const parameters = (count) => `${formatCount(count)} ${count === 1 ? "parameter" : "parameters"}`;
  const equal = !numEqual ? "No parameter is the same in all of them." : `${parameters(numEqual)} ${numEqual === 1 ? "is" : "are"} the same in all of them.`;
  return html`
    <section class="card table-card" aria-label="Search spaces"><h2>Search spaces</h2>
      ${
        differing.length > 0 &&
        html`<div class="scroll" tabindex="0" role="region" aria-label="Table: differing parameters"><table class="list still">
        <thead><tr><th scope="col">Parameter</th>${studies.map(({ id, name }) => html`<th scope="col" title=${name}><${Link} href=${`${studyAddress(id)}?tab=configuration`}>${name}<//></th>`)}</tr></thead>
        <tbody>${differing.map(
          ([name, found]) => html`<tr key=${name}><th scope="row" class="name mono" title=${name}>${name}</th>
          ${found.map((parameter, i) => html`<${Cell} parameter=${parameter} declared=${Object.keys(spaces[i]).length > 0} />`)}</tr>`,
        )}</tbody></table></div>`
      }
      <p class="pad muted">${differing.length ? equal : numEqual ? `They search the same space, of ${parameters(numEqual)}.` : "None of them declares its space: it is defined as trials are asked for."}</p>
    </section>`;
}
