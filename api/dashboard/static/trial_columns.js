// The columns of the table of trials, and the menu that chooses among them: which are hidden and which shown beyond the usual ones stands
// in the address.

import { html, useMemo } from "./vendor/htm-preact.js";
import { labelOf } from "./cells.js";
import { Menu } from "./controls.js";
import { formatAgo, formatCount, formatDuration, formatNumber, formatParam, objectiveLabel } from "./format.js";
import { Link, trialAddress } from "./router.js";
import { State } from "./states.js";

const width = (label) => Math.min(220, Math.max(96, label.length * 7 + 34));
const NONE = html`<span class="muted">–</span>`;

function ownColumns(trials, study, order, selection) {
  return [
    {
      key: "number",
      label: "Trial",
      width: 112,
      grow: 0.4,
      descendingFirst: true,
      fixed: true,
      before: html`<label class="tick"><input type="checkbox" aria-label=${`Select all ${formatCount(order.length)} shown`} disabled=${!order.length}
        checked=${selection.all} indeterminate=${selection.numbers.size > 0 && !selection.all} onChange=${selection.toggleAll} /></label>`,
      cell: (index) => {
        const number = order[index];
        return html`<label class="tick" title="With Shift all from the last one on"><input type="checkbox" tabindex="-1" aria-label=${`Select trial ${number}`}
            checked=${selection.has(number)} onClick=${(event) => selection.toggle(number, event.shiftKey)} /></label>
          <${Link} href=${trialAddress(study.id, number)} tabindex="-1">${number}<//>`;
      },
    },
    {
      key: "state",
      label: "State",
      width: 160,
      cell: (index) => {
        const state = trials.states[order[index]];
        if (trials.isInfeasible(order[index])) return html`<${State} state=${state} reason="infeasible" />`;
        return html`<${State} state=${state} reason=${["COMPLETE", "RUNNING"].includes(state) ? null : trials.reasons[order[index]]} />`;
      },
    },
  ];
}

const objectiveColumn = (trials, order, { name, direction }) => ({
  key: `value:${name}`,
  label: objectiveLabel({ name, direction }),
  width: width(name),
  align: "right",
  descendingFirst: direction === "maximize",
  cell: (index) => {
    const value = trials.value(name, order[index]);
    return value === undefined ? NONE : html`<b title=${String(value)}>${formatNumber(value)}</b>`;
  },
});

const timeColumns = (trials, order) => [
  { key: "duration", label: "Took", width: 92, grow: 0.5, align: "right", descendingFirst: true, cell: (index) => formatDuration(trials.duration(order[index])) },
  {
    key: "finished",
    label: "Ended",
    width: 100,
    grow: 0.5,
    align: "right",
    descendingFirst: true,
    cell: (index) => {
      const at = trials.finished[order[index]];
      return at === undefined ? NONE : html`<span class="muted" title=${new Date(at).toISOString()}>${formatAgo(at)}</span>`;
    },
  },
];

const paramColumn = (trials, order, name, textual) => ({
  key: `param:${name}`,
  label: name,
  width: width(name),
  align: textual ? "left" : "right",
  cell: (index) => html`<span class="mono" title=${trials.params[name][order[index]] === undefined ? "absent" : String(trials.params[name][order[index]])}>${formatParam(trials.params[name][order[index]])}</span>`,
});

const cellColumn = (cells, order, key) => ({
  key,
  label: labelOf(key),
  width: width(labelOf(key)),
  align: cells[key]?.some((value) => value !== undefined && typeof value !== "number") ? "left" : "right",
  cell: (index) => {
    const value = cells[key]?.[order[index]];
    return value === undefined ? NONE : html`<span class="mono" title=${String(value)}>${formatParam(value)}</span>`;
  },
});

// {columns, groups}: those to show, and [[heading, columns], ...] to choose from.
export function useColumns({ feed, study, order, version, selection, shown, hidden, cells }) {
  const { trials, objectives } = feed;
  const textual = useMemo(
    () => new Set(trials.paramNames().filter((name) => trials.params[name].some((value) => value !== undefined && typeof value !== "number"))),
    [feed.path, version],
  );
  const usual = [...ownColumns(trials, study, order, selection), ...objectives.map((objective) => objectiveColumn(trials, order, objective)), ...timeColumns(trials, order)];
  const params = trials.paramNames().map((name) => paramColumn(trials, order, name, textual.has(name)));
  const all = [...usual, ...shown.map((key) => cellColumn(cells, order, key)), ...params];
  return {
    columns: all.filter(({ key, fixed }) => fixed || !hidden.includes(key)).map((column) => ({ ...column, sortable: true })),
    groups: [["Trial", usual.filter(({ fixed }) => !fixed)], ["Parameters", params]],
  };
}

function Group({ heading, entries, isOn, toggle }) {
  return html`<fieldset><legend>${heading}</legend>${entries.map(
    ([key, label]) => html`<label class="check" key=${key}><input type="checkbox" checked=${isOn(key)} onChange=${() => toggle(key)} />${label}</label>`,
  )}</fieldset>`;
}

export function ColumnMenu({ groups, cellGroups, hidden, shown, toggleHidden, toggleShown }) {
  return html`<${Menu} label="Columns"><div class="column-groups">
    ${groups.map(
      ([heading, columns]) => html`<${Group} heading=${heading} entries=${columns.map(({ key, label }) => [key, label])} isOn=${(key) => !hidden.includes(key)} toggle=${toggleHidden} />`,
    )}
    ${cellGroups.map(([heading, keys]) => html`<${Group} heading=${heading} entries=${keys.map((key) => [key, labelOf(key)])} isOn=${(key) => shown.includes(key)} toggle=${toggleShown} />`)}
  </div><//>`;
}
