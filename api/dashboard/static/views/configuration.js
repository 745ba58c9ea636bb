// What was submitted: the search space as a table, the whole specification as text; what may change later: limits, tags, notes; what the
// search made of it, and what has happened since.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { Activity } from "../activity.js";
import { get, request } from "../api.js";
import { Ago, Confirm, CopyButton } from "../controls.js";
import { formatCount, formatDuration, formatNumber } from "../format.js";
import { Banner } from "../notices.js";
import { navigate } from "../router.js";
import { mayWrite, useCaller } from "../session.js";
import { describeEdit } from "../space_edits.js";
import { describeCondition, describeRange } from "../space_words.js";

// Limits of a study: what they are called, and whether they are times.
const LIMITS = {
  max_trials: { label: "Trials" },
  max_concurrent_trials: { label: "At once, at most" },
  max_failed_trials: { label: "Failures, at most" },
  max_attempts: { label: "Attempts of each, at most", empty: "" },
  timeout: { label: "Time since creation, in seconds", isTime: true },
  trial_timeout: { label: "Time of each, in seconds", isTime: true },
  max_gpu_seconds: { label: "GPU time of all, in seconds", isTime: true },
  target: { label: "Value at which it ends", empty: "none", single: true },
};

const limitsOf = (study) => Object.entries(LIMITS).filter(([, { single }]) => !single || study.spec.objectives?.length === 1);

// A limit as typed: empty is none, and what is no number goes to the server as it stands, which says what is wrong with it.
const typedLimit = (text) => (text.trim() === "" ? null : Number.isFinite(Number(text)) ? Number(text) : text);

function LimitField({ name, limit, value, problem, onChange }) {
  const id = `problem-${name}`;
  const seconds = limit.isTime && value.trim() !== "" ? Number(value) : NaN;
  return html`
    <label class="field"><span>${limit.label}</span>
      <input inputmode="decimal" aria-label=${limit.label} aria-invalid=${Boolean(problem)} aria-describedby=${problem ? id : undefined} placeholder=${limit.empty ?? "no limit"} value=${value}
        onInput=${(event) => onChange(event.currentTarget.value)} />
      ${problem ? html`<span id=${id} class="bad">${problem}</span>` : seconds > 0 && html`<small class="muted">${formatDuration(seconds)}</small>`}
    </label>`;
}

// Limits, tags and notes, changed in place; what the server refuses is said at its field.
function Edit({ feed, study, onDone }) {
  const [notes, setNotes] = useState(study.notes);
  const [tags, setTags] = useState(study.tags.join(", "));
  const known = limitsOf(study);
  const [limits, setLimits] = useState(Object.fromEntries(known.map(([name]) => [name, String(study.spec.limits?.[name] ?? "")])));
  const [failure, setFailure] = useState(null);
  const save = async (event) => {
    event.preventDefault();
    setFailure(null);
    const changed = Object.fromEntries(known.map(([name]) => [name, typedLimit(limits[name])]).filter(([name, value]) => value !== (study.spec.limits?.[name] ?? null)));
    const body = {
      notes,
      tags: tags.split(",").map((tag) => tag.trim()).filter(Boolean),
      ...(Object.keys(changed).length ? { limits: changed } : {}),
    };
    try {
      feed.replaceStudy(await request("PATCH", `/v1/studies/${study.id}`, { body }));
      onDone();
    } catch (error) {
      setFailure(error);
    }
  };
  const problems = Object.fromEntries((failure?.errors ?? []).map(({ loc, msg }) => [loc.replace(/^(body\.)?limits\./, ""), msg]));
  const placed = known.some(([name]) => problems[name]);
  return html`
    <form class="about" onSubmit=${save}>
      ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${placed ? "Nothing was changed: see the fields." : `Nothing was changed: ${failure.message}`}<//>`}
      <div class="fields limits">${known.map(
        ([name, limit]) => html`<${LimitField} key=${name} name=${name} limit=${limit} value=${limits[name]} problem=${problems[name]} onChange=${(text) => setLimits({ ...limits, [name]: text })} />`,
      )}</div>
      <label class="field"><span>Tags</span><input value=${tags} placeholder="with commas between" onInput=${(event) => setTags(event.currentTarget.value)} /></label>
      <label class="field"><span>Notes</span><textarea rows="6" value=${notes} onInput=${(event) => setNotes(event.currentTarget.value)}></textarea></label>
      <div class="actions"><button class="primary">Save</button><button type="button" onClick=${onDone}>Leave as it was</button></div>
    </form>`;
}

function Limits({ study }) {
  const given = limitsOf(study)
    .map(([name, limit]) => [name, limit, study.spec.limits?.[name] ?? null])
    .filter(([, , value]) => value !== null);
  const show = ({ isTime }, value) => (isTime ? html`<span title=${`${value} seconds`}>${formatDuration(value)}</span>` : html`<span title=${String(value)}>${formatNumber(value)}</span>`);
  return html`<dt>Limits</dt><dd>${given.length ? given.map(([name, limit, value]) => html`<div key=${name}>${limit.label.replace(", in seconds", "")}: ${show(limit, value)}</div>`) : html`<span class="muted">none</span>`}</dd>`;
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
        <${Limits} study=${study} />
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

// Nothing of a study is left once it is deleted, so its name is typed.
function Delete({ study }) {
  const caller = useCaller();
  const [asking, ask] = useState(false);
  const [failure, setFailure] = useState(null);
  const { complete, pruned, fail, running, waiting } = study.counts;
  const total = complete + pruned + fail + running + waiting;
  const remove = async () => {
    setFailure(null);
    try {
      await request("DELETE", `/v1/studies/${study.id}`);
      navigate("/studies", { replace: true });
    } catch (error) {
      setFailure(`The study was not deleted: ${error.message}`);
    }
  };
  if (!mayWrite(caller)) return null;
  return html`<section class="card pad" aria-label="Delete"><div class="chart-head"><h2>Delete this study</h2>
      <button class="small danger-quiet" onClick=${() => ask(true)}>Delete study</button></div>
    <p class="muted">With its trials, their logs and checkpoints. To put it out of sight and keep it, archive it in the list of studies.</p>
    ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
    ${
      asking &&
      html`<${Confirm} title="Delete this study?" action="Delete the study" word=${study.name} what="its name" onConfirm=${remove} onClose=${() => ask(false)}>
        ${formatCount(total)} ${total === 1 ? "trial goes" : "trials go"} with it, with ${total === 1 ? "its" : "their"} logs and checkpoints${running > 0 && `; ${formatCount(running)} of them ${running === 1 ? "runs" : "run"} and will be ended`}. This cannot be undone.<//>`
    }</section>`;
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
            <td class="wrap">${describeRange(parameter)}</td><td class="wrap muted">${parameter.when ? describeCondition(parameter.when) : ""}</td>
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
    <${Happened} study=${study} />
    <${Delete} study=${study} />`;
}
