// All studies, newest first: state, progress, best value so far and its curve, speed; those put away on request; some of them to compare.

import { html, useEffect, useLayoutEffect, useState } from "../vendor/htm-preact.js";
import { request } from "../api.js";
import { Ago, Command, Select, useDelayed } from "../controls.js";
import { decodeNumber, formatCount, formatDuration, formatNumber, formatRepeated, objectiveLabel } from "../format.js";
import { useKeys } from "../keyboard.js";
import { Banner, Empty, Failure, Loading } from "../notices.js";
import { Link, navigate, studyAddress, useQuery } from "../router.js";
import { mayWrite, useCaller } from "../session.js";
import { Sparkline } from "../sparkline.js";
import { Progress, State, STUDY_STATES } from "../states.js";
import { remaining } from "../strip.js";
import { useProgress, useStudies } from "../study_list.js";

const MOST_COMPARED = 6;
const PAUSE = 200; // milliseconds without a keystroke before a search
const STATE_OPTIONS = [["", "All states"], ...Object.entries(STUDY_STATES).map(([key, { word }]) => [key, word])];
const ARCHIVE_OPTIONS = [
  ["", "Current"],
  ["archived", "Archived"],
];
const ended = ({ counts }) => counts.complete + counts.pruned + counts.fail;
const ORDERS = {
  "": ["Newest first", null],
  name: ["By name", (a, b) => a.name.localeCompare(b.name)],
  trials: ["Most trials", (a, b) => ended(b) - ended(a)],
  speed: ["Fastest", (a, b, progress) => (progress[b.id]?.trials_per_hour ?? 0) - (progress[a.id]?.trials_per_hour ?? 0)],
};

function Best({ study }) {
  const { objectives } = study.spec;
  if (objectives.length > 1) return html`<span class="muted">${objectives.map(objectiveLabel).join(", ")}</span>`;
  const value = decodeNumber(study.best_value);
  if (value === null) return html`<span class="muted">–</span>`;
  return html`<b class="figure" title=${String(value)}>${study.best_repeats ? formatRepeated(study.best_repeats) : formatNumber(value)}</b> <span class="muted" title=${objectives[0].name}>${objectiveLabel(objectives[0])}</span>`;
}

function Speed({ study, speed }) {
  const elapsed = (Date.now() - Date.parse(study.created_at)) / 1000;
  const seconds = remaining({ study, limits: study.spec.limits ?? {}, finished: ended(study), speed: speed / 3600, elapsed });
  if (study.finished_at || !speed) return html`<span class="muted">–</span>`;
  return html`${formatNumber(speed, 2)} <span class="muted">/ h</span>${seconds !== null && html`<div class="under muted">${formatDuration(seconds)} to go</div>`}`;
}

function Row({ study, progress, selected, toggle }) {
  const { counts } = study;
  const finished = ended(study);
  const limit = study.spec.limits?.max_trials ?? null;
  const address = studyAddress(study.id);
  const best = study.spec.objectives.length > 1 ? [] : (progress?.best ?? []).map(([number, value]) => [number, decodeNumber(value)]);
  return html`
    <tr data-row onClick=${(event) => event.target.closest("a, button, label") || navigate(address)}>
      <td class="name"><label class="tick"><input type="checkbox" aria-label=${`Select study ${study.name}`} checked=${selected} onChange=${() => toggle(study.id)} /></label><${Link} href=${address} title=${study.name}>${study.name}<//>
        ${study.tags.map((tag) => html`<span class="tag" title=${tag}>${tag}</span>`)}</td>
      <td><${State} of=${STUDY_STATES} state=${study.state} reason=${study.state === "COMPLETE" || study.state === "FAIL" ? study.reason : null} /></td>
      <td class="progress-cell"><${Progress} counts=${counts} limit=${limit} />
        <span class="figure">${formatCount(finished)}${limit === null ? "" : ` / ${formatCount(limit)}`}</span>
        <span class="counts">${counts.running > 0 && html`<span class="muted">${counts.running} running</span>`}
        ${counts.fail > 0 && html`<span class="bad">${counts.fail} failed</span>`}</span></td>
      <td class="best"><${Best} study=${study} /></td>
      <td class="spark-cell">${best.length > 0 && html`<${Sparkline} points=${best} steps=${true} label=${`Best so far of ${study.name}: ${formatNumber(best[0][1])} to ${formatNumber(best.at(-1)[1])} over ${formatCount(best.length)} points`} />`}</td>
      <td class="speed figure"><${Speed} study=${study} speed=${progress?.trials_per_hour} /></td>
      <td class="muted made"><${Ago} at=${study.created_at} />${study.created_by && html`<div class="under owner" title=${study.created_by}>${study.created_by}</div>`}</td>
    </tr>`;
}

export function Studies() {
  const [query, setQuery] = useQuery("q");
  const [state, setState] = useQuery("state");
  const caller = useCaller();
  const [selected, select] = useState(new Set());
  const toggle = (id) => {
    const next = new Set(selected);
    if (!next.delete(id)) next.add(id);
    select(next);
  };
  const [archive, setArchive] = useQuery("archive");
  const [order, setOrder] = useQuery("order");
  const [failure, setFailure] = useState(null);
  const { items, cursor, error, more, replace } = useStudies(query, state, archive === "archived");
  const progress = useProgress(items);
  const compare = selected.size > 1 && selected.size <= MOST_COMPARED ? `/compare?studies=${[...selected].join(",")}` : null;
  useKeys({ c: () => compare && navigate(compare), Escape: () => select(new Set()) });
  const putAway = async () => {
    setFailure(null);
    try {
      for (const id of selected) replace(await request("PATCH", `/v1/studies/${id}`, { body: { archived: archive === "" } }));
      select(new Set());
    } catch (problem) {
      setFailure(`Not all of them were changed: ${problem.message}`);
    }
  };
  // What is typed stays in the field while the list changes around it.
  const [typed, type] = useState(query);
  const search = useDelayed(setQuery, PAUSE);
  useLayoutEffect(() => type(query), [query]);
  const clear = () => {
    search.cancel();
    type("");
    setQuery("");
  };
  useEffect(() => {
    document.title = "Studies · Tuner";
  }, []);

  const filtered = Boolean(query || state || archive);
  const sorter = ORDERS[order]?.[1];
  const sorted = sorter && items ? [...items].sort((a, b) => sorter(a, b, progress)) : items;
  let content;
  if (!items) content = error ? html`<${Failure} error=${error} what="studies" heading="h2" />` : html`<${Loading} />`;
  else if (!items.length && filtered)
    content = html`<${Empty} title="No study matches"><p>${archive ? "Nothing that has been archived" : "Nothing in this project"} has that name, tag or state.</p>
    <//>`;
  else if (!items.length) {
    content = html`<${Empty} title="No studies yet"><p>A study is one search: a space of parameters, an objective, and how to run a trial. Submit the example:</p>
      <${Command} text=${`tuner study submit examples/optimizers-on-digits.yaml --watch --server ${location.origin}`} /><//>`;
  } else {
    content = html`
      <div class="card table-card scroll"><table class="list studies">
        <thead><tr><th scope="col">Study</th><th scope="col">State</th><th scope="col">Trials</th><th scope="col">Best</th>
          <th scope="col">Best so far</th><th scope="col">Speed</th><th scope="col">Created</th></tr></thead>
        <tbody>${sorted.map((study) => html`<${Row} key=${study.id} study=${study} progress=${progress[study.id]} selected=${selected.has(study.id)} toggle=${toggle} />`)}</tbody>
      </table></div>
      ${cursor && html`<p class="centred"><button onClick=${more}>Show more</button>${sorter && html`<span class="muted">In this order are the ${formatCount(items.length)} newest.</span>`}</p>`}`;
  }
  return html`
    <div class="page-head"><h1>Studies</h1>
      <div class="filters">
        <input type="search" placeholder="Search names and tags   /" aria-label="Search names and tags" value=${typed}
          onKeyDown=${(event) => event.key === "Escape" && clear()}
          onInput=${(event) => {
            type(event.currentTarget.value);
            search.soon(event.currentTarget.value);
          }} />
        <${Select} label="State" value=${state} onChange=${setState} options=${STATE_OPTIONS} />
        <${Select} label="Order" value=${order} onChange=${setOrder} options=${Object.entries(ORDERS).map(([key, [word]]) => [key, word])} />
        <${Select} label="Archive" value=${archive} onChange=${(value) => {
          select(new Set());
          setArchive(value);
        }} options=${ARCHIVE_OPTIONS} />
        ${
          selected.size > 0 &&
          (compare
            ? html`<${Link} class="button" href=${compare}>Compare ${selected.size} studies<//>`
            : html`<button disabled title=${`Select 2 to ${MOST_COMPARED} studies`}>Compare ${selected.size} ${selected.size === 1 ? "study" : "studies"}</button>`)
        }
        ${selected.size > 0 && mayWrite(caller) && html`<button onClick=${putAway}>${archive === "" ? "Archive" : "Take out"} ${selected.size}</button>`}
        ${mayWrite(caller) && html`<${Link} class="button primary" href="/new">New study<//>`}
      </div>
    </div>
    ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
    ${content}`;
}
