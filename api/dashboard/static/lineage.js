// Where a trial comes from and what comes of it: in a population the line of its parents and the copies made of it, each with what was changed;
// of a repeated configuration the trials on its other seeds. Asked for only in studies that have such trials.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { formatNumber, formatParam } from "./format.js";
import { Link, trialAddress } from "./router.js";
import { State } from "./states.js";

const MAX_ROWS = 12; // of a table: the first one, and those nearest to the trial

// [first ancestor, ..., the trial itself]; repeats are no descendants. Parents come before their children, so the line ends.
export function descent({ parents, origins }, number) {
  const line = [number];
  while (origins[line[0]] !== "repeat" && parents[line[0]] < line[0]) line.unshift(parents[line[0]]);
  return line;
}

export const children = ({ parents, origins }, number) => Object.keys(parents).map(Number).filter((other) => parents[other] === number && origins[other] !== "repeat");

// The first trial of a configuration and its repeats; only itself where nothing was repeated.
export function seeds({ parents, origins }, number) {
  const first = origins[number] === "repeat" ? parents[number] : number;
  return [first, ...Object.keys(parents).map(Number).filter((other) => parents[other] === first && origins[other] === "repeat")];
}

// [[parameter, before, after], ...] of those that differ.
export const changes = ({ params }, from, to) =>
  Object.keys(params)
    .filter((name) => params[name][from] !== params[name][to])
    .map((name) => [name, params[name][from], params[name][to]]);

// {parents, origins} by number, null until they are known or where there are none.
function useParents(feed, trial) {
  const [found, set] = useState(null);
  const { spec } = feed.study;
  const wanted = spec.pruner?.name === "population" || Boolean(spec.repeat) || (trial.parent ?? null) !== null;
  useEffect(() => {
    if (!wanted) return undefined;
    let gone = false;
    const column = ({ numbers, columns }) => Object.fromEntries(numbers.map((number, i) => [number, columns.value[i]]));
    Promise.all(["parent", "origin"].map((name) => get(`${feed.path}/cells?kind=fact&name=${name}`)))
      .then(([parents, origins]) => gone || set({ parents: column(parents), origins: column(origins) }))
      .catch(() => {}); // what was there before stays; asked again with the next trial
    return () => {
      gone = true;
    };
  }, [feed.path, wanted, feed.trials.length]);
  return found;
}

function Rows({ title, feed, numbers, number, objective, last, cell }) {
  const { trials, study } = feed;
  const shown = numbers.length > MAX_ROWS ? [numbers[0], ...numbers.slice(1 - MAX_ROWS)] : numbers;
  const row = (other) => html`
    <tr key=${other} aria-current=${other === number ? "true" : undefined}><td>${other === number ? html`<b>${other}</b>` : html`<${Link} href=${trialAddress(study.id, other)}>${other}<//>`}</td>
      <td class="right figure">${formatNumber(trials.value(objective.name, other))}</td><td class="wrap">${cell(other)}</td></tr>`;
  const hidden = html`<tr><td colspan="3" class="muted">… ${numbers.length - shown.length} more</td></tr>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${`Table: ${title}`}><table class="list still descent">
    <thead><tr><th scope="col">Trial</th><th scope="col" class="right">${objective.name}</th><th scope="col">${last}</th></tr></thead>
    <tbody>${shown.length < numbers.length ? [row(shown[0]), hidden, ...shown.slice(1).map(row)] : shown.map(row)}</tbody></table></div>`;
}

function Changes({ trials, from, to }) {
  const found = changes(trials, from, to);
  if (!found.length) return html`<span class="muted">nothing</span>`;
  const show = (value) => (value === undefined ? "absent" : formatParam(value));
  return html`<ul class="changes">${found.map(
    ([name, before, after]) => html`<li><span class="mono">${name}</span> <span class="from-to"><span class="muted" title=${String(before)}>${show(before)}</span> → <b title=${String(after)}>${show(after)}</b></span></li>`,
  )}</ul>`;
}

export function Lineage({ feed, trial }) {
  const known = useParents(feed, trial);
  const objective = feed.objectives[0];
  if (!known || !objective) return null;
  const { number } = trial;
  const { trials } = feed;
  const shared = { feed, number, objective };
  const line = descent(known, number);
  const copies = children(known, number);
  const same = seeds(known, number);
  const finite = same.filter((other) => trials.states[other] === "COMPLETE").map((other) => trials.value(objective.name, other)).filter(Number.isFinite);
  const mean = finite.reduce((sum, value) => sum + value, 0) / finite.length;
  const changed = (other) => {
    const at = line.indexOf(other);
    return at > 0 ? html`<${Changes} trials=${trials} from=${line[at - 1]} to=${other} />` : html`<span class="muted">the first of the line</span>`;
  };
  return html`
    ${
      same.length > 1 &&
      html`<section class="card table-card" aria-label="Seeds"><div class="chart-head"><h2>The same on other seeds</h2>
        ${finite.length > 0 && html`<span class="muted">mean <b class="figure">${formatNumber(mean)}</b> over ${finite.length} ${finite.length === 1 ? "seed" : "seeds"}</span>`}</div>
        <${Rows} ...${shared} title="seeds" numbers=${same} last="State" cell=${(other) => html`<${State} state=${trials.states[other]} reason=${trials.states[other] === "FAIL" ? trials.reasons[other] : null} />`} /></section>`
    }
    ${line.length > 1 && html`<section class="card table-card" aria-label="Line of descent"><h2>Line of descent</h2><${Rows} ...${shared} title="line of descent" numbers=${line} last="What changed" cell=${changed} /></section>`}
    ${
      copies.length > 0 &&
      html`<section class="card table-card" aria-label="Children"><h2>Children</h2>
        <${Rows} ...${shared} title="children" numbers=${copies} last="What changed" cell=${(other) => html`<${Changes} trials=${trials} from=${number} to=${other} />`} /></section>`
    }`;
}
