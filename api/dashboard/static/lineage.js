// Where a trial comes from and what comes of it: in a population the line of its parents and the copies made of it, each with what was changed;
// of a repeated configuration the trials on its other seeds. Asked for only in studies that have such trials.

import { html, useMemo } from "./vendor/htm-preact.js";
import { useCells } from "./cells.js";
import { formatNumber, formatParam } from "./format.js";
import { Link, trialAddress } from "./router.js";
import { State } from "./states.js";

const [PARENT, ORIGIN] = ["fact:parent", "fact:origin"];
const MAX_ROWS = 12; // of a table: the first one, and those nearest to the trial

// What is known of parents and origins, arrays by number, with what follows from them: {parents, origins, copies, repeats}, the last two Maps from
// a trial to those made of it.
export function family(parents, origins) {
  const [copies, repeats] = [new Map(), new Map()];
  parents.forEach((parent, number) => {
    if (parent === undefined) return;
    const made = origins[number] === "repeat" ? repeats : copies;
    if (made.has(parent)) made.get(parent).push(number);
    else made.set(parent, [number]);
  });
  return { parents, origins, copies, repeats };
}

// [first ancestor, ..., the trial itself]; repeats are no descendants. Parents come before their children, so the line ends.
export function descent({ parents, origins }, number) {
  const line = [number];
  while (origins[line[0]] !== "repeat" && parents[line[0]] < line[0]) line.unshift(parents[line[0]]);
  return line;
}

// The first trial of a configuration and its repeats; only itself where nothing was repeated.
export function seeds({ parents, origins, repeats }, number) {
  const first = origins[number] === "repeat" ? parents[number] : number;
  return [first, ...(repeats.get(first) ?? [])];
}

// [[parameter, before, after], ...] of those that differ.
export const changes = ({ params }, from, to) =>
  Object.keys(params)
    .filter((name) => params[name][from] !== params[name][to])
    .map((name) => [name, params[name][from], params[name][to]]);

// The family of all trials, null until it is known or where there is none.
function useFamily(feed, trial) {
  const { spec } = feed.study;
  const wanted = spec.pruner?.name === "population" || Boolean(spec.repeat) || (trial.parent ?? null) !== null;
  const { cells, loaded } = useCells(feed, wanted ? [PARENT, ORIGIN] : [], feed.trials.length);
  return useMemo(() => (cells[PARENT] && cells[ORIGIN] ? family(cells[PARENT], cells[ORIGIN]) : null), [cells, loaded]);
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
  const known = useFamily(feed, trial);
  const objective = feed.objectives[0];
  if (!known || !objective) return null;
  const { number } = trial;
  const { trials } = feed;
  const shared = { feed, number, objective };
  const line = descent(known, number);
  const copies = known.copies.get(number) ?? [];
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
