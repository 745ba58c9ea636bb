// One trial: why it is as it is. Its parameters beside the best trial's, its curves, every attempt with who ran it and how it ended, logs, checkpoints.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { ApiError, get, post } from "../api.js";
import { useAsked } from "../asking.js";
import { TrialCurves } from "../charts/trial_curves.js";
import { Attempts } from "../attempts.js";
import { Ago, Command, Confirm, CopyButton, useClock } from "../controls.js";
import { useStudyFeed } from "../feed.js";
import { decodeNumber, formatBytes, formatCount, formatDuration, formatNumber, formatParam, objectiveLabel, shellWord } from "../format.js";
import { useKeys } from "../keyboard.js";
import { Lineage } from "../lineage.js";
import { Logs } from "../logs.js";
import { Banner, Failure, Loading } from "../notices.js";
import { Link, navigate, studyAddress, trialAddress } from "../router.js";
import { mayWrite, useCaller } from "../session.js";
import { Icon, State } from "../states.js";
import { TrialNotes } from "../trial_notes.js";
import { InTurn } from "../turns.js";

const RUNNING_INTERVAL = 2_000;
const FLAGS = { vanishing: "Some layer hardly learned beside another", exploding: "Steps were far too long" };

// The trial with its attempts and checkpoints, asked for again when the study's stream says that its state has changed, and now and then while it runs:
// reports come several times a second, and some without the objective.
function useTrial(feed, number) {
  const id = feed?.trials.ids[number];
  const state = feed?.trials.states[number];
  const read = async ({ signal }) => {
    const [trial, attempts, checkpoints] = await Promise.all(["", "/attempts", "/checkpoints"].map((part) => get(`/v1/trials/${id}${part}`, { signal })));
    return { trial, attempts: attempts.items, checkpoints: checkpoints.items };
  };
  const { answer, error, replace } = useAsked(read, {
    question: id,
    occasion: state,
    interval: state === "RUNNING" ? RUNNING_INTERVAL : null,
    when: Boolean(feed?.loaded) && id !== undefined,
  });
  if (feed?.loaded && id === undefined) return { error: new ApiError(`This study has no trial ${number}.`, 404) };
  return { ...answer, error, replace: (trial) => replace({ ...answer, trial }) };
}

function Actions({ trial, study, feed }) {
  const [asking, ask] = useState(false);
  const [failure, setFailure] = useState(null);
  const act = async (verb) => {
    setFailure(null);
    try {
      // The api retries what failed or was pruned; a complete trial is enqueued once more.
      const enqueue = verb === "retry" && trial.state === "COMPLETE";
      const changed = await (enqueue
        ? post(`/v1/studies/${study.id}/trials`, { params: trial.params })
        : post(`/v1/trials/${trial.id}/${verb}`));
      feed.mergeTrial(changed);
      if (verb === "retry") navigate(trialAddress(study.id, changed.number));
    } catch (error) {
      setFailure(error.message);
    }
  };
  const open = trial.state === "RUNNING" || trial.state === "WAITING";
  return html`
    <div class="actions">
      ${
        open
          ? html`<button class="danger-quiet" onClick=${() => ask(true)}>Cancel trial</button>`
          : html`<button title="Enqueue a new trial with the same parameters" onClick=${() => act("retry")}>Run again</button>`
      }
    </div>
    ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
    ${
      asking &&
      html`<${Confirm} title=${`Cancel trial ${trial.number}?`} action="Cancel the trial" onConfirm=${() => act("cancel")} onClose=${() => ask(false)}>
        It ends at its next report and counts as failed.<//>`
    }`;
}

function Parameters({ feed, number }) {
  const { trials, objectives, study } = feed;
  // Of several objectives the first one's: no trial is the best in all of them.
  const several = objectives.length > 1;
  const best = (several ? trials.ranked(objectives[0])[0] : study.best_trial) ?? undefined;
  const compared = best !== undefined && best !== number;
  const names = trials
    .paramNames()
    .filter((name) => trials.params[name][number] !== undefined || (compared && trials.params[name][best] !== undefined));
  const text = JSON.stringify(
    Object.fromEntries(
      names.filter((name) => trials.params[name][number] !== undefined).map((name) => [name, trials.params[name][number]]),
    ),
    null,
    2,
  );
  return html`
    <section class="card table-card"><div class="chart-head"><h2>Parameters</h2><${CopyButton} text=${text} label="Copy as JSON" /></div>
      <div class="scroll" tabindex="0" role="region" aria-label="Table: parameters"><table class="list still"><thead><tr><th scope="col">Parameter</th><th scope="col" class="right">This trial</th>
        ${compared && html`<th scope="col" class="right">Best${several && ` ${objectiveLabel(objectives[0])}`}, <${Link} href=${trialAddress(study.id, best)}>${best}<//></th>`}</tr></thead>
        <tbody>${names.map((name) => {
          const [mine, other] = [trials.params[name][number], compared ? trials.params[name][best] : undefined];
          let against = other === undefined ? "absent" : formatParam(other);
          if (mine === other) against = "same";
          return html`<tr><td class="mono wrap">${name}</td>
            <td class="right mono wrap" title=${String(mine ?? "")}>${mine === undefined ? html`<span class="muted">absent</span>` : formatParam(mine)}</td>
            ${compared && html`<td class=${mine === other ? "right mono wrap muted" : "right mono wrap"} title=${String(other ?? "")}>${against}</td>`}</tr>`;
        })}</tbody></table></div>
    </section>`;
}

// Which outcome constraints the trial meets, and by how much it breaks the others, in the unit of the metric.
function OutcomeConstraints({ trial }) {
  if (!trial.constraints) return null;
  const shown = Object.entries(trial.constraints).map(([text, given]) => [text, decodeNumber(given)]);
  const word = (violation) => {
    if (violation <= 0) return "met";
    return Number.isFinite(violation) ? `broken by ${formatNumber(violation)}` : "no number";
  };
  return html`
    <section class="card pad" aria-label="Outcome constraints"><h2>Outcome constraints</h2>
      <dl class="facts">${shown.map(([text, violation]) => html`<dt class="mono">${text}</dt><dd>${word(violation)}</dd>`)}</dl></section>`;
}

function Checkpoints({ trial, checkpoints }) {
  if (!checkpoints.length) return null;
  return html`
    <section class="card table-card"><div class="chart-head"><h2>Checkpoints</h2>
      <a class="button small" href=${`/v1/trials/${trial.id}/checkpoints/latest`} download>Download the latest</a></div>
      <div class="scroll" tabindex="0" role="region" aria-label="Table: checkpoints"><table class="list still"><thead><tr><th scope="col" class="right">Step</th>
        <th scope="col" class="right">Size</th><th scope="col">SHA-256</th><th scope="col">Saved</th><th scope="col"><span class="visually-hidden">File</span></th></tr></thead>
        <tbody>${checkpoints
          .slice(-20)
          .reverse()
          .map(
            (checkpoint) => html`<tr><td class="right">${formatCount(checkpoint.step)}</td>
          <td class="right">${formatBytes(checkpoint.size)}</td>
          <td class="mono" title=${checkpoint.sha256}>${checkpoint.sha256.slice(0, 12)}…</td>
            <td class="muted"><${Ago} at=${checkpoint.created_at} /></td>
            <td class="right"><a href=${`/v1/trials/${trial.id}/checkpoints/${checkpoint.step}`} download aria-label=${`Download the checkpoint of step ${checkpoint.step}`}>Download</a></td></tr>`,
          )}</tbody></table></div>
    </section>`;
}

// What decided the trial, as its last attempt recorded it, and the command that repeats it.
function Repeat({ trial, study, attempts }) {
  const record = attempts.findLast((attempt) => attempt.record)?.record;
  const digest = (value) => (typeof value === "string" ? `${value.slice(0, 16)}…` : undefined);
  const facts = Object.entries({
    Device: record?.device && Object.values(record.device).join(", "),
    Seed: record?.seed,
    Data: digest(record?.data),
    Weights: record?.weights && `${digest(record.weights.sha256)} after step ${record.weights.step}`,
    Versions:
      record?.versions &&
      Object.entries(record.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", "),
  }).filter(([, value]) => value !== undefined && value !== null);
  const attributes = Object.entries(trial.user_attrs);
  const show = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
  return html`
    ${
      attributes.length > 0 &&
      html`<section class="card pad" aria-label="Attributes"><h2>Attributes</h2><dl class="facts">${attributes.map(
        ([name, value]) => html`<dt class="mono">${name}</dt><dd class="wrap" title=${show(value)}>${typeof value === "number" ? formatNumber(value) : show(value)}</dd>`,
      )}</dl></section>`
    }
    ${
      attempts.length > 0 &&
      study.spec.trial?.executor !== "external" &&
      html`<section class="card pad" aria-label="Repeat it"><h2>Repeat it</h2>
      <p class="about"><${Command} text=${`tuner trial rerun ${shellWord(`${study.name}/${trial.number}`)} --verify`} /></p>
      ${facts.length > 0 && html`<dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd class="wrap mono">${show(value)}</dd>`)}</dl>`}</section>`
    }`;
}

// With a clock of its own, so that the page around it is not drawn anew each second.
const Duration = ({ trials, number }) => formatDuration(trials.duration(number, useClock()));

export function Trial({ params }) {
  const number = Number(params.number);
  const { feed, version } = useStudyFeed(params.study);
  const { trial, attempts, checkpoints, error, replace } = useTrial(feed, number);
  useEffect(() => {
    if (feed?.loaded) feed.wantCurves([number], { whole: true });
  }, [feed, feed?.loaded, version, number]);
  const caller = useCaller();
  const study = feed?.study;
  useEffect(() => {
    document.title = `Trial ${number}${study ? ` · ${study.name}` : ""} · Tuner`;
  }, [number, study?.name]);
  useKeys({
    "[": () => study && number > 0 && navigate(trialAddress(study.id, number - 1)),
    "]": () => study && number + 1 < feed.trials.length && navigate(trialAddress(study.id, number + 1)),
  });
  if (feed?.error && !feed.loaded) return html`<${Failure} error=${feed.error} what="study" />`;
  if (error && trial?.number !== number) return html`<${Failure} error=${error} what="trial" />`;
  if (!study || !trial || trial.number !== number) return html`<${Loading} />`;

  const state = feed.trials.states[number] ?? trial.state;
  const latest = feed.curves.last(number, feed.objectives[0]?.name);
  const resumes = attempts.map(({ resumed_from }) => resumed_from).filter((step) => step !== null && step !== undefined);
  const lent = study.strategy?.portfolio?.find((loan) => loan.trial === number);
  const final = feed.trials.value(feed.objectives[0]?.name, number);
  let standing = final === undefined ? "no final value" : Number.isFinite(final) ? "final value" : "final value, not finite";
  if (study.best_trial === number) standing = "the best of this study";
  if (state === "RUNNING" && latest) standing = `latest ${formatNumber(latest[1])} at step ${latest[0]}`;
  const value = (name) => feed.trials.value(name, number) ?? decodeNumber(trial.values?.[name] ?? null);
  return html`
    <nav class="crumbs" aria-label="Breadcrumb"><${Link} href="/studies">Studies<//><span aria-hidden="true">/</span>
      <${Link} href=${studyAddress(study.id)}>${study.name}<//></nav>
    <div class="page-head">
      <div class="title"><h1>Trial ${number}</h1>
        <${State} state=${state} reason=${(state === "COMPLETE" && trial.reason !== "infeasible") || state === "RUNNING" ? null : trial.reason} />
        ${(Array.isArray(trial.user_attrs.flags) ? trial.user_attrs.flags : []).map((flag) => FLAGS[flag] && html`<span class="state" data-tone="pruned" title=${FLAGS[flag]}><${Icon} name="ring" />${flag} gradients</span>`)}
        <span class="pager">
          ${number > 0 && html`<${Link} class="button small" href=${trialAddress(study.id, number - 1)} title="Previous trial: [" aria-label="Previous trial">←<//>`}
          ${number + 1 < feed.trials.length && html`<${Link} class="button small" href=${trialAddress(study.id, number + 1)} title="Next trial: ]" aria-label="Next trial">→<//>`}
        </span></div>
      ${mayWrite(caller) && html`<${Actions} trial=${{ ...trial, state }} study=${study} feed=${feed} />`}
    </div>
    <dl class="strip">
      ${feed.objectives.map(
        (
          { name, direction },
          i,
        ) => html`<div class=${i === 0 ? "stat main" : "stat"}><dt>${objectiveLabel({ name, direction })}</dt>
        <dd class="figure" title=${String(value(name) ?? "")}>${formatNumber(value(name))}</dd>
          <dd class="sub">${i === 0 && standing}</dd></div>`,
      )}
      <div class="stat"><dt>${state === "RUNNING" ? "Running for" : "Took"}</dt>
        <dd class="figure"><${Duration} trials=${feed.trials} number=${number} /></dd>
        <dd class="sub">${trial.started_at ? html`started <${Ago} at=${trial.started_at} />` : "not started"}</dd></div>
      <div class="stat"><dt>Attempts</dt><dd class="figure">${attempts.length}</dd>
        <dd class="sub">${trial.worker ? `${state === "RUNNING" ? "on" : "last on"} ${trial.worker}` : "no worker"}</dd></div>
      <div class="stat"><dt>Origin</dt><dd class="figure">${trial.origin}</dd><dd class="sub">${trial.parent !== null && trial.parent !== undefined ? html`of <${Link} href=${trialAddress(study.id, trial.parent)}>trial ${trial.parent}<//>` : lent ? html`lent by <${Link} href=${trialAddress(lent.study_id, lent.source_trial)}>${lent.study}, trial ${lent.source_trial}<//>` : `id ${trial.id}`}</dd></div>
    </dl>
    ${trial.error && html`<section class="card pad failure"><h2>${state === "COMPLETE" ? "What it lacks" : "Why it failed"}</h2><pre class="code" tabindex="0">${trial.error}</pre></section>`}
    <div class="charts"><${InTurn}>${() => html`<${TrialCurves} curves=${feed.curves} number=${number} resumes=${resumes} first=${feed.objectives[0]?.name} />`}<//></div>
    <div class="columns even">
      <div><${Parameters} feed=${feed} number=${number} /><${Lineage} key=${number} feed=${feed} trial=${trial} /><${OutcomeConstraints} trial=${trial} />
        <${TrialNotes} key=${trial.id} trial=${trial} editable=${mayWrite(caller)} onSaved=${replace} /></div>
      <div><${Attempts} attempts=${attempts} /><${Checkpoints} trial=${trial} checkpoints=${checkpoints} />
        <${Repeat} trial=${trial} study=${study} attempts=${attempts} /></div>
    </div>
    <${Logs} key=${trial.id} trialId=${trial.id} running=${state === "RUNNING"} />`;
}
