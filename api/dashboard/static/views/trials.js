// Every trial of a study as a table: filter, sort by any column, choose columns; all of it stands in the address. Those that are shown can be
// exported, those that are selected run again or cancelled together.

import { html, useMemo, useState } from "../vendor/htm-preact.js";
import { post } from "../api.js";
import { Confirm, Menu } from "../controls.js";
import { formatAgo, formatCount, formatDuration, formatNumber, formatParam } from "../format.js";
import { Grid } from "../grid.js";
import { Link, navigate, trialAddress, useQuery } from "../router.js";
import { Banner } from "../notices.js";
import { mayWrite, useCaller } from "../session.js";
import { Icon, State, TRIAL_STATES } from "../states.js";
import { STATES } from "../trials.js";

const width = (label) => Math.min(220, Math.max(96, label.length * 7.6 + 36));

// Trials that an action applies to, and its question.
const ACTIONS = {
  retry: { label: "Run again", states: ["FAIL", "PRUNED", "COMPLETE"], question: "Their parameters are tried once more, as new trials." },
  cancel: { label: "Cancel", states: ["WAITING", "RUNNING"], question: "Running ones end at their next report and count as failed." },
};

// What is done with the selected trials, one request each; the first refusal is shown and the rest goes on.
function Bulk({ feed, study, selected, clear }) {
  const { trials } = feed;
  const [asking, ask] = useState(null);
  const [failure, setFailure] = useState(null);
  const [busy, setBusy] = useState(false);
  const able = (verb) => [...selected].filter((number) => ACTIONS[verb].states.includes(trials.states[number]));
  const act = async (verb) => {
    setBusy(true);
    setFailure(null);
    const failures = [];
    for (const number of able(verb)) {
      try {
        const enqueue = verb === "retry" && trials.states[number] === "COMPLETE";
        const params = Object.fromEntries(trials.paramNames().map((name) => [name, trials.params[name][number]]).filter(([, value]) => value !== undefined));
        feed.mergeTrial(await (enqueue ? post(`${feed.path}/trials`, { params }) : post(`/v1/trials/${trials.ids[number]}/${verb}`)));
      } catch (error) {
        failures.push(`trial ${number}: ${error.message}`);
      }
    }
    setBusy(false);
    if (failures.length) setFailure(`${failures.length} of the trials could not be changed; ${failures[0]}`);
    else clear();
  };
  return html`
    <div class="bulk" role="group" aria-label="Selected trials">
      <b>${formatCount(selected.size)} selected</b>
      ${Object.entries(ACTIONS).map(
        ([verb, { label }]) => html`<button class="small" disabled=${busy || !able(verb).length} onClick=${() => ask(verb)}>${label} ${able(verb).length || ""}</button>`,
      )}
      <button class="small quiet" onClick=${clear}>Clear</button>
    </div>
    ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
    ${
      asking &&
      html`<${Confirm} title=${`${ACTIONS[asking].label}: ${able(asking).length} trials of ${study.name}?`} action=${ACTIONS[asking].label}
        onConfirm=${() => act(asking)} onClose=${() => ask(null)}>${ACTIONS[asking].question}<//>`
    }`;
}

function Export({ study, states, filter }) {
  const address = (format) => {
    const query = new URLSearchParams({ format });
    if (states) query.set("state", states);
    if (filter.text) query.set("filter", filter.text);
    return `/v1/studies/${study.id}/export?${query}`;
  };
  return html`<${Menu} label="Export">${["csv", "json", "parquet"].map(
    (format) => html`<a href=${address(format)} download>${states || filter.text ? "The trials shown" : "All trials"} as ${format.toUpperCase()}</a>`,
  )}<//>`;
}

export function TrialsTable({ feed, study, version, filter }) {
  const { trials, objectives } = feed;
  const caller = useCaller();
  const [hidden, setHidden] = useQuery("hide");
  const [selected, select] = useState(new Set());
  const toggleSelected = (number) => {
    const next = new Set(selected);
    if (!next.delete(number)) next.add(number);
    select(next);
  };
  const [states, setStates] = useQuery("state");
  const [sortText, setSort] = useQuery("sort", "-number");
  const chosen = states ? states.split(",") : [];
  const sort = { key: sortText.replace(/^-/, ""), descending: sortText.startsWith("-") };
  const order = useMemo(() => trials.order({ states: chosen, ...sort }), [trials, version, states, sortText]);
  const counts = useMemo(() => trials.counts(), [trials, version]);
  const textual = useMemo(
    () =>
      new Set(trials.paramNames().filter((name) => trials.params[name].some((value) => value !== undefined && typeof value !== "number"))),
    [trials, version],
  );
  const toggle = (state) => setStates((chosen.includes(state) ? chosen.filter((other) => other !== state) : [...chosen, state]).join(","));

  const writer = mayWrite(caller);
  const all = [
    {
      key: "number",
      label: "Trial",
      width: writer ? 100 : 76,
      grow: 0.4,
      sortable: true,
      descendingFirst: true,
      fixed: true,
      cell: (index) => {
        const number = order[index];
        const box = html`<label class="tick"><input type="checkbox" tabindex="-1" aria-label=${`Select trial ${number}`} checked=${selected.has(number)} onChange=${() => toggleSelected(number)} /></label>`;
        return html`${writer && box}<${Link} href=${trialAddress(study.id, number)} tabindex="-1">${number}<//>`;
      },
    },
    {
      key: "state",
      label: "State",
      width: 172,
      sortable: true,
      cell: (index) => {
        const state = trials.states[order[index]];
        return html`<${State} state=${state} reason=${state === "COMPLETE" || state === "RUNNING" ? null : trials.reasons[order[index]]} />`;
      },
    },
    ...objectives.map(({ name, direction }) => ({
      key: `value:${name}`,
      label: `${name} ${direction === "maximize" ? "↑" : "↓"}`,
      width: width(name),
      align: "right",
      sortable: true,
      descendingFirst: direction === "maximize",
      cell: (index) => {
        const value = trials.value(name, order[index]);
        return value === undefined ? html`<span class="muted">–</span>` : html`<b title=${String(value)}>${formatNumber(value)}</b>`;
      },
    })),
    {
      key: "duration",
      label: "Took",
      width: 92,
      grow: 0.5,
      align: "right",
      sortable: true,
      descendingFirst: true,
      cell: (index) => formatDuration(trials.duration(order[index])),
    },
    {
      key: "finished",
      label: "Ended",
      width: 100,
      grow: 0.5,
      align: "right",
      sortable: true,
      descendingFirst: true,
      cell: (index) => {
        const at = trials.finished[order[index]];
        return at === undefined
          ? html`<span class="muted">–</span>`
          : html`<span class="muted" title=${new Date(at).toISOString()}>${formatAgo(at)}</span>`;
      },
    },
    ...trials.paramNames().map((name) => ({
      key: `param:${name}`,
      label: name,
      width: width(name),
      sortable: true,
      align: textual.has(name) ? "left" : "right",
      cell: (index) =>
        html`<span class="mono" title=${String(trials.params[name][order[index]] ?? "absent")}>${formatParam(trials.params[name][order[index]])}</span>`,
    })),
  ];
  const hiddenKeys = new Set(hidden ? hidden.split("|") : []);
  const columns = all.filter(({ key, fixed }) => fixed || !hiddenKeys.has(key));
  const toggleColumn = (key) => {
    if (!hiddenKeys.delete(key)) hiddenKeys.add(key);
    setHidden([...hiddenKeys].join("|"));
  };
  return html`
    <div class="chips" role="group" aria-label="States shown">
      ${STATES.map(
        (state) => html`
        <button class="chip" data-tone=${TRIAL_STATES[state].tone} aria-pressed=${chosen.includes(state)}
          disabled=${!counts[state] && !chosen.includes(state)} onClick=${() => toggle(state)}>
          <${Icon} name=${TRIAL_STATES[state].icon} />${TRIAL_STATES[state].word}<span class="count">${formatCount(counts[state])}</span>
        </button>`,
      )}
      <span class="muted shown" aria-live="polite">${formatCount(order.length)} shown</span>
      <${Menu} label="Columns">${all
        .filter(({ fixed }) => !fixed)
        .map(
          ({ key, label }) => html`<label class="check"><input type="checkbox" checked=${!hiddenKeys.has(key)} onChange=${() => toggleColumn(key)} />${label}</label>`,
        )}<//>
      <${Export} study=${study} states=${states} filter=${filter} />
    </div>
    ${selected.size > 0 && html`<${Bulk} feed=${feed} study=${study} selected=${selected} clear=${() => select(new Set())} />`}
    <div class="card grid-card">
      <${Grid} label="Trials" columns=${columns} length=${order.length} rowKey=${(index) => order[index]} sort=${sort}
        onSort=${({ key, descending }) => setSort(`${descending ? "-" : ""}${key}`)} onOpen=${(index) => navigate(trialAddress(study.id, order[index]))}
        onToggle=${writer ? (index) => toggleSelected(order[index]) : undefined} />
      ${!order.length && html`<p class="chart-note">${chosen.length ? "No trial is in these states." : filter.text ? "No trial passes the filter." : "No trials yet."}</p>`}
    </div>`;
}
