// What was submitted: the search space as a table, the whole specification as text; what may change later: limits, tags, notes; what the
// search made of it, and what has happened since.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { Activity } from "../activity.js";
import { get, request } from "../api.js";
import { Ago, CopyButton } from "../controls.js";
import { formatNumber, formatParam } from "../format.js";
import { Banner } from "../notices.js";
import { mayWrite, useCaller } from "../session.js";
import { describeEdit } from "../space_edits.js";

const LIMITS = [
  ["max_trials", "Trials"],
  ["max_concurrent_trials", "At once, at most"],
  ["max_failed_trials", "Failures, at most"],
];

function range(parameter) {
  if ("freeze" in parameter) return `frozen at ${formatParam(parameter.freeze)} (${whole(parameter)})`;
  return whole(parameter);
}

function whole(parameter) {
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

// Limits, tags and notes, changed in place.
function Edit({ feed, study, onDone }) {
  const [notes, setNotes] = useState(study.notes);
  const [tags, setTags] = useState(study.tags.join(", "));
  const [limits, setLimits] = useState(Object.fromEntries(LIMITS.map(([name]) => [name, String(study.spec.limits?.[name] ?? "")])));
  const [failure, setFailure] = useState(null);
  const save = async (event) => {
    event.preventDefault();
    setFailure(null);
    const number = (text) => (text.trim() === "" ? null : Number.isFinite(Number(text)) ? Number(text) : text);
    const changed = Object.fromEntries(LIMITS.map(([name]) => [name, number(limits[name])]).filter(([name, value]) => value !== (study.spec.limits?.[name] ?? null)));
    const body = {
      notes,
      tags: tags.split(",").map((tag) => tag.trim()).filter(Boolean),
      ...(Object.keys(changed).length ? { limits: changed } : {}),
    };
    try {
      feed.replaceStudy(await request("PATCH", `/v1/studies/${study.id}`, { body }));
      onDone();
    } catch (error) {
      setFailure(`Nothing was changed: ${error.message}`);
    }
  };
  return html`
    <form class="about" onSubmit=${save}>
      ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
      <div class="fields">${LIMITS.map(
        ([name, label]) => html`<label class="field"><span>${label}</span>
        <input inputmode="numeric" placeholder="no limit" value=${limits[name]} onInput=${(event) => setLimits({ ...limits, [name]: event.currentTarget.value })} /></label>`,
      )}</div>
      <label class="field"><span>Tags</span><input value=${tags} placeholder="with commas between" onInput=${(event) => setTags(event.currentTarget.value)} /></label>
      <label class="field"><span>Notes</span><textarea rows="6" value=${notes} onInput=${(event) => setNotes(event.currentTarget.value)}></textarea></label>
      <div class="actions"><button class="primary">Save</button><button type="button" onClick=${onDone}>Leave as it was</button></div>
    </form>`;
}

function About({ feed, study }) {
  const caller = useCaller();
  const [editing, edit] = useState(false);
  const constraints = [...(study.spec.constraints ?? []), ...(study.spec.outcome_constraints ?? [])];
  return html`
    <section class="card pad" aria-label="About"><div class="chart-head"><h2>About</h2>
        ${!editing && mayWrite(caller) && html`<button class="small" onClick=${() => edit(true)}>Edit</button>`}</div>
      ${
        editing
          ? html`<${Edit} feed=${feed} study=${study} onDone=${() => edit(false)} />`
          : html`<dl class="facts">
        <dt>Created</dt><dd><${Ago} at=${study.created_at} />${study.created_by && ` by ${study.created_by}`}</dd>
        <dt>Id</dt><dd class="mono">${study.id}</dd>
        <dt>Objectives</dt><dd>${(study.spec.objectives ?? []).map(({ name, direction }) => `${direction} ${name}`).join(", ")}</dd>
        ${constraints.length > 0 && html`<dt>Constraints</dt><dd>${constraints.map((text) => html`<div class="mono wrap">${text}</div>`)}</dd>`}
        ${study.spec.repeat && html`<dt>Repeats</dt><dd>promising trials, on up to ${study.spec.repeat.max} seeds</dd>`}
        <dt>Executor</dt><dd>${study.spec.trial?.executor ?? "–"}</dd>
        <dt>Tags</dt><dd>${study.tags.length ? study.tags.map((tag) => html`<span class="tag" title=${tag}>${tag}</span>`) : html`<span class="muted">none</span>`}</dd>
        <dt>Notes</dt><dd class="notes">${study.notes || html`<span class="muted">none</span>`}</dd>
      </dl>`
      }
    </section>`;
}

// What the search decided where the study said auto, and why.
function Strategy({ strategy }) {
  if (!strategy?.reasons?.length) return null;
  return html`<section class="card pad" aria-label="How it is searched"><h2>How it is searched</h2>
    <ul class="rests">${strategy.reasons.map((reason) => html`<li>${reason}</li>`)}</ul></section>`;
}

// The edits of the space, the newest first, and from which trial on each applies.
function Versions({ edits }) {
  if (!edits?.length) return null;
  return html`<section class="card pad" aria-label="Versions of the search space"><h2>Versions of the search space</h2>
    <ul class="rests">${edits.toReversed().map(
      ({ version, at, by, first_number: first, changes }) => html`<li key=${version}>Version ${version}, from trial ${first} on: ${describeEdit(changes)}
        <span class="muted"> · <${Ago} at=${at} />${by && ` by ${by}`}</span></li>`,
    )}</ul></section>`;
}

function Happened({ study }) {
  const [events, set] = useState([]);
  useEffect(() => {
    let gone = false;
    get(`/v1/log?study=${study.id}&limit=20`)
      .then(({ items }) => gone || set(items))
      .catch(() => {});
    return () => {
      gone = true;
    };
  }, [study.id, study.state]);
  if (!events.length) return null;
  return html`<section class="card pad" aria-label="What has happened"><h2>What has happened</h2><${Activity} events=${events} /></section>`;
}

export function Configuration({ feed, study }) {
  const text = JSON.stringify(study.spec, null, 2);
  const space = Object.entries(study.spec.space ?? {});
  return html`
    <div class="columns">
      <div><section class="card table-card"><h2>Search space</h2>
        ${
          space.length
            ? html`<div class="scroll" tabindex="0" role="region" aria-label="Table: search space"><table class="list">
          <thead><tr><th scope="col">Parameter</th><th scope="col">Type</th><th scope="col">Range</th><th scope="col">Only when</th></tr></thead>
          <tbody>${space.map(
            ([name, parameter]) => html`<tr><td class="mono wrap">${name}</td><td>${parameter.type}</td>
            <td class="wrap">${range(parameter)}</td><td class="wrap muted">${parameter.when ? condition(parameter.when) : ""}</td>
            </tr>`,
          )}</tbody>
        </table></div>`
            : html`<p class="chart-note">The space is defined as trials are asked for (define-by-run).</p>`
        }
      </section><${Versions} edits=${study.space_edits} /><${Strategy} strategy=${study.strategy} /></div>
      <${About} feed=${feed} study=${study} />
    </div>
    <section class="card pad"><div class="chart-head"><h2>Specification</h2>
      <${CopyButton} text=${text} /></div><pre class="code" tabindex="0">${text}</pre></section>
    <${Happened} study=${study} />`;
}
