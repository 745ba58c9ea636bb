// Every trial of a study as a table: filter by state, sort by any column; both stand in the address.

import { html, useMemo } from "../vendor/htm-preact.js";
import { formatAgo, formatCount, formatDuration, formatNumber, formatParam } from "../format.js";
import { Grid } from "../grid.js";
import { Link, navigate, trialAddress, useQuery } from "../router.js";
import { Icon, State, TRIAL_STATES } from "../states.js";
import { STATES } from "../trials.js";

const width = (label) => Math.min(220, Math.max(96, label.length * 7.6 + 36));

export function TrialsTable({ feed, study, version }) {
  const { trials, objectives } = feed;
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

  const columns = [
    {
      key: "number",
      label: "Trial",
      width: 76,
      grow: 0.4,
      sortable: true,
      descendingFirst: true,
      cell: (index) => html`<${Link} href=${trialAddress(study.id, order[index])} tabindex="-1">${order[index]}<//>`,
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
    </div>
    <div class="card grid-card">
      <${Grid} label="Trials" columns=${columns} length=${order.length} rowKey=${(index) => order[index]} sort=${sort}
        onSort=${({ key, descending }) => setSort(`${descending ? "-" : ""}${key}`)} onOpen=${(index) => navigate(trialAddress(study.id, order[index]))} />
      ${!order.length && html`<p class="chart-note">${chosen.length ? "No trial is in these states." : "No trials yet."}</p>`}
    </div>`;
}
