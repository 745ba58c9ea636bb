// All studies, newest first: state, progress, best value. Live: one stream of summaries for the whole project.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { get } from "../api.js";
import { setConnection } from "../connection.js";
import { Ago, Command, Select } from "../controls.js";
import { decodeNumber, formatCount, formatNumber } from "../format.js";
import { Empty, Failure, Loading } from "../notices.js";
import { Link, navigate, studyAddress, useQuery } from "../router.js";
import { mayWrite, useCaller } from "../session.js";
import { Progress, State, STUDY_STATES } from "../states.js";
import { follow } from "../stream.js";

const PAGE = 50;
const REDRAW_INTERVAL = 250;
const STATE_OPTIONS = [["", "All states"], ...Object.entries(STUDY_STATES).map(([key, { word }]) => [key, word])];

// Whether a study that is not shown would stand above the last one shown (newest first), and not on a later page.
const newer = (study, items) => !items.length || study.id > items.at(-1).id;

function useStudies(query, state) {
  const [list, setList] = useState({ items: null, cursor: null, error: null });
  const address = (cursor) => {
    const parameters = new URLSearchParams({ limit: PAGE });
    if (query) parameters.set("q", query);
    if (state) parameters.set("state", state);
    if (cursor) parameters.set("cursor", cursor);
    return `/v1/studies?${parameters}`;
  };
  useEffect(() => {
    let gone = false;
    let timer = null;
    const changed = new Map();
    const load = async () => {
      try {
        const page = await get(address());
        if (!gone) setList({ items: page.items, cursor: page.next_cursor, error: null });
      } catch (error) {
        if (gone) return;
        setList((old) => ({ ...old, error }));
        if (error.status === 0 || error.status >= 500) timer = setTimeout(load, 1500);
      }
    };
    // Summaries replace the rows shown; a study that is not shown may belong on this page, so the page is asked for again.
    const merge = () => {
      timer = null;
      setList((old) => {
        const known = new Set(old.items?.map((study) => study.id));
        if (!old.items || [...changed].some(([id, study]) => study && !known.has(id) && newer(study, old.items)) || state) load();
        const items = old.items?.map((study) => (changed.has(study.id) ? changed.get(study.id) : study)).filter(Boolean) ?? null;
        changed.clear();
        return { ...old, error: null, items };
      });
    };
    load();
    let dropped = false;
    const stop = follow("/v1/events", {
      lastId: () => null, // each connection begins with all summaries
      onEvent: ({ event, data }) => {
        changed.set(data.id, event === "deleted" ? null : data);
        timer ??= setTimeout(merge, REDRAW_INTERVAL);
      },
      onState: (connection) => {
        setConnection(connection);
        if (connection === "live" && dropped) load();
        dropped = connection === "reconnecting" || connection === "paused" || (dropped && connection !== "live");
      },
    });
    return () => {
      gone = true;
      clearTimeout(timer);
      stop();
    };
  }, [query, state]);
  const more = async () => {
    const page = await get(address(list.cursor));
    setList((old) => ({ ...old, items: [...old.items, ...page.items], cursor: page.next_cursor }));
  };
  return { ...list, more };
}

function Best({ study }) {
  const { objectives } = study.spec;
  if (objectives.length > 1) return html`<span class="muted">${objectives.length} objectives</span>`;
  const value = decodeNumber(study.best_value);
  if (value === null) return html`<span class="muted">–</span>`;
  const objective = `${objectives[0].name} ${objectives[0].direction === "maximize" ? "↑" : "↓"}`;
  return html`<b class="figure" title=${String(value)}>${formatNumber(value)}</b> <span class="muted">${objective}</span>`;
}

function Row({ study, selected, toggle }) {
  const { counts } = study;
  const finished = counts.complete + counts.pruned + counts.fail;
  const limit = study.spec.limits?.max_trials ?? null;
  const address = studyAddress(study.id);
  return html`
    <tr onClick=${(event) => event.target.closest("a, button, label") || navigate(address)}>
      <td class="name"><label class="tick"><input type="checkbox" aria-label=${`Select study ${study.name}`} checked=${selected} onChange=${() => toggle(study.id)} /></label><${Link} href=${address} title=${study.name}>${study.name}<//>
        ${study.tags.map((tag) => html`<span class="tag">${tag}</span>`)}</td>
      <td><${State} of=${STUDY_STATES} state=${study.state} reason=${study.state === "COMPLETE" || study.state === "FAIL" ? study.reason : null} /></td>
      <td class="progress-cell"><${Progress} counts=${counts} limit=${limit} />
        <span class="figure">${formatCount(finished)}${limit === null ? "" : ` / ${formatCount(limit)}`}</span>
        ${counts.running > 0 && html`<span class="muted">${counts.running} running</span>`}
        ${counts.fail > 0 && html`<span class="bad">${counts.fail} failed</span>`}</td>
      <td><${Best} study=${study} /></td>
      <td class="muted"><${Ago} at=${study.created_at} /></td>
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
  const search = useRef(null);
  const { items, cursor, error, more } = useStudies(query, state);
  const delayed = useMemo(() => {
    let timer;
    return (text) => {
      clearTimeout(timer);
      timer = setTimeout(() => setQuery(text), 200);
    };
  }, []);
  useLayoutEffect(() => {
    document.title = "Studies · Tuner";
    const onKey = (event) => {
      if (event.key !== "/" || /^(input|textarea|select)$/i.test(event.target.tagName)) return;
      event.preventDefault();
      search.current?.focus();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);

  const filtered = Boolean(query || state);
  let content;
  if (!items) content = error ? html`<${Failure} error=${error} what="studies" />` : html`<${Loading} />`;
  else if (!items.length && filtered)
    content = html`<${Empty} title="No study matches"><p>Nothing in this project has that name, tag or state.</p>
    <//>`;
  else if (!items.length) {
    content = html`<${Empty} title="No studies yet"><p>A study is one search: a space of parameters, an objective, and how to run a trial. Submit the example:</p>
      <${Command} text="tuner study submit examples/optimizers-on-digits.yaml --watch" /><//>`;
  } else {
    content = html`
      <div class="card table-card"><table class="list studies">
        <thead><tr><th scope="col">Study</th><th scope="col">State</th><th scope="col">Trials</th><th scope="col">Best</th>
          <th scope="col">Created</th></tr></thead>
        <tbody>${items.map((study) => html`<${Row} key=${study.id} study=${study} selected=${selected.has(study.id)} toggle=${toggle} />`)}</tbody>
      </table></div>
      ${cursor && html`<p class="centred"><button onClick=${more}>Show more</button></p>`}`;
  }
  return html`
    <div class="page-head"><h1>Studies</h1>
      <div class="filters">
        <input ref=${search} type="search" placeholder="Search names and tags   /" aria-label="Search names and tags" value=${query}
          onInput=${(event) => delayed(event.currentTarget.value)} />
        <${Select} label="State" value=${state} onChange=${setState} options=${STATE_OPTIONS} />
        ${
          selected.size > 0 &&
          (selected.size > 1
            ? html`<${Link} class="button" href=${`/compare?studies=${[...selected].join(",")}`}>Compare ${selected.size} studies<//>`
            : html`<button disabled title="Select another study">Compare 1 study</button>`)
        }
        ${mayWrite(caller) && html`<${Link} class="button primary" href="/new">New study<//>`}
      </div>
    </div>
    ${content}`;
}
