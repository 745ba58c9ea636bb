// Every trial of a study as a table: sorted by any columns (with shift by several), columns chosen from groups, rows close or wide; all of it
// stands in the address. Those that are shown can be exported, those that are selected run again, cancelled or copied together.

import { html, useMemo, useState } from "../vendor/htm-preact.js";
import { Announced } from "../announced.js";
import { Bulk } from "../bulk.js";
import { useCellGroups, useCells } from "../cells.js";
import { useChosen } from "../chosen.js";
import { Menu } from "../controls.js";
import { formatCount } from "../format.js";
import { Grid } from "../grid.js";
import { navigate, trialAddress, useQuery } from "../router.js";
import { mayWrite, useCaller } from "../session.js";
import { ColumnMenu, useColumns } from "../trial_columns.js";

const list = (text) => (text ? text.split("|") : []);
const toggled = (items, item) => (items.includes(item) ? items.filter((other) => other !== item) : [...items, item]);

export const readSorts = (text) => list(text).map((part) => ({ key: part.replace(/^-/, ""), descending: part.startsWith("-") }));
export const writeSorts = (sorts) => sorts.map(({ key, descending }) => `${descending ? "-" : ""}${key}`).join("|");

// The order after a click on a column's head: by it alone, or (`add`) by it after the others; a second click turns it round.
export function sortedBy(sorts, { key, descendingFirst, add }) {
  const old = sorts.find((sort) => sort.key === key);
  const next = { key, descending: old ? !old.descending : Boolean(descendingFirst) };
  if (!add) return [next];
  return old ? sorts.map((sort) => (sort.key === key ? next : sort)) : [...sorts, next];
}

function Export({ study, filter }) {
  const address = (format) => {
    const query = new URLSearchParams({ format });
    if (filter.states.length) query.set("state", filter.states.join(","));
    if (filter.text) query.set("filter", filter.text);
    return `/v1/studies/${study.id}/export?${query}`;
  };
  return html`<${Menu} label="Export">${["csv", "json", "parquet"].map(
    (format) => html`<a href=${address(format)} download>${filter.states.length || filter.text ? "The trials shown" : "All trials"} as ${format.toUpperCase()}</a>`,
  )}<//>`;
}

function Jump({ order, onFound }) {
  const [missing, miss] = useState(null);
  const jump = (event) => {
    event.preventDefault();
    const number = Number(new FormData(event.currentTarget).get("number"));
    const index = order.indexOf(number);
    miss(index < 0 ? number : null);
    if (index >= 0) onFound(index);
  };
  return html`<form class="jump" onSubmit=${jump}>
    <input class="small" name="number" type="number" min="0" required placeholder="Go to trial" aria-label="Go to trial" onInput=${() => miss(null)} />
    ${missing !== null && html`<span class="bad" role="status">Trial ${missing} is not among those shown.</span>`}</form>`;
}

export function TrialsTable({ feed, study, version, filter }) {
  const { trials } = feed;
  const writer = mayWrite(useCaller());
  const [hiddenText, setHidden] = useQuery("hide");
  const [shownText, setShown] = useQuery("show");
  const [sortText, setSort] = useQuery("sort", "-number");
  const [density, setDensity] = useQuery("rows", "wide");
  const [target, setTarget] = useState(null);
  const [hidden, shown, sorts] = [list(hiddenText), list(shownText), readSorts(sortText)];
  const { cells, loaded } = useCells(feed, shown, version);
  const cellGroups = useCellGroups(feed);
  const order = useMemo(() => trials.order({ sorts, cells }), [trials, version, filter.states.join(), sortText, loaded]);
  const selection = useChosen(study.id, order);
  const { columns, groups } = useColumns({ feed, study, order, version, selection, shown, hidden, cells });
  const compact = density === "compact";
  const none = filter.states.length ? "No trial is in these states." : filter.text ? "No trial passes the filter." : "No trials yet.";
  return html`
    <div class="table-bar">
      <span class="muted">${formatCount(order.length)} shown${sorts.length > 1 ? `, sorted by ${sorts.length} columns` : ""}</span>
      <${Announced} text=${`${formatCount(order.length)} trials in the table`} />
      <${Jump} order=${order} onFound=${(index) => setTarget({ index })} />
      <span class="right-side">
        <button class="small quiet" aria-pressed=${compact} onClick=${() => setDensity(compact ? "wide" : "compact")}>Compact</button>
        <${ColumnMenu} groups=${groups} cellGroups=${cellGroups} hidden=${hidden} shown=${shown}
          toggleHidden=${(key) => setHidden(toggled(hidden, key).join("|"))} toggleShown=${(key) => setShown(toggled(shown, key).join("|"))} />
        <${Export} study=${study} filter=${filter} />
      </span>
    </div>
    ${selection.numbers.size > 0 && html`<${Bulk} feed=${feed} study=${study} selection=${selection} shown=${order} writer=${writer} />`}
    <div class="card grid-card">
      <${Grid} label="Trials" columns=${columns} length=${order.length} rowKey=${(index) => order[index]} sorts=${sorts} compact=${compact} target=${target}
        onSort=${(click) => setSort(writeSorts(sortedBy(sorts, click)))} onOpen=${(index) => navigate(trialAddress(study.id, order[index]))}
        onToggle=${(index, through) => selection.toggle(order[index], through)} />
      ${!order.length && html`<p class="chart-note">${none}</p>`}
    </div>`;
}
