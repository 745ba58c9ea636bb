// Levels of a parameter, or studies, held against each other: the conclusion in a sentence, the curve, the table, every pair, and what it all rests on.

import { html } from "./vendor/htm-preact.js";
import { BestAfter } from "./charts/best_after.js";
import { decodeNumber, formatCount, formatDuration, formatNumber, formatParam } from "./format.js";
import { Inline } from "./markdown.js";
import { Link, studyAddress, trialAddress } from "./router.js";
import { SpaceDiff } from "./space_diff.js";

// A number of the answer, which is written as text where it is not finite; in full in its title.
function Figure({ of, digits }) {
  const value = decodeNumber(of);
  return value === null ? html`<span class="muted">–</span>` : html`<span title=${String(value)}>${formatNumber(value, digits)}</span>`;
}

function interval(estimate) {
  if (!estimate) return html`<span class="muted">–</span>`;
  const [low, high] = [decodeNumber(estimate.low), decodeNumber(estimate.high)];
  return html`<b><${Figure} of=${estimate.value} /></b>${Number.isFinite(low) && Number.isFinite(high) && html` <span class="muted" title=${`95 % interval: ${low} to ${high}`}>${formatNumber(low)} to ${formatNumber(high)}</span>`}`;
}

// A level's name is text or a value of a parameter: a rounded one is in full in the title.
const levelTitle = (level) => String(level);

// Training time of the level that used least, in which the others' best is told too; undefined where none is on record.
function equalTime(levels) {
  const used = levels.map((level) => level.best_after?.seconds.at(-1)).filter((seconds) => seconds !== undefined);
  return Math.min(...used) > 0 ? Math.min(...used) : undefined;
}

function counts(trials) {
  const parts = [
    [trials.failed, "failed"],
    [trials.pruned, "pruned"],
    [trials.paused, "paused"],
    [trials.running, "running"],
  ];
  const rest = parts.filter(([count]) => count).map(([count, word]) => `${count} ${word}`);
  return html`${formatCount(trials.counted)}${rest.length > 0 && html` <span class="muted">${rest.join(", ")}</span>`}`;
}

function Levels({ comparison, trialLink }) {
  const time = equalTime(comparison.levels);
  return html`
    <section class="card table-card"><h2>By ${comparison.by}</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Levels"><table class="list still">
        <thead><tr><th scope="col">${comparison.by}</th><th scope="col" class="right">Expected best after ${comparison.k}</th><th scope="col" class="right">Rank</th>
          <th scope="col" class="right">Best</th><th scope="col" class="right" title="Best of the first trials, as many as the level with fewest has">Best of first ${formatCount(comparison.budget)}</th>
          ${time && html`<th scope="col" class="right" title="Best of the first trials that fit into the training time of the level that used least">Best in first ${formatDuration(time)}</th>`}<th scope="col" class="right">Good ones</th><th scope="col" class="right">Trials</th><th scope="col" class="right">Training time</th></tr></thead>
        <tbody>${comparison.levels.map(
          (level) => html`<tr key=${String(level.level)}>
          <th scope="row" class="name mono" title=${levelTitle(level.level)}>${formatParam(level.level)}</th>
          <td class="right">${interval(level.expected_best)}</td>
          <td class="right">${level.rank ? html`<b>${formatNumber(level.rank.value)}</b> <span class="muted">${level.rank.low} to ${level.rank.high}</span>` : "–"}</td>
          <td class="right">${level.best ? html`<${Figure} of=${level.best.value} /> ${trialLink(level)}` : "–"}</td>
          <td class="right"><${Figure} of=${level.best_at_equal_budget} /></td>
          ${time && html`<td class="right"><${Figure} of=${level.best_at_equal_seconds} /></td>`}
          <td class="right" title=${String(level.sensitivity ?? "")}>${level.sensitivity === null ? "–" : `${Math.round(100 * level.sensitivity)} %`}</td>
          <td class="right">${counts(level.trials)}</td>
          <td class="right"><span title=${`${level.seconds} seconds`}>${formatDuration(level.seconds)}</span>${level.gpu_seconds > 0 && html` <span class="muted" title=${`${level.gpu_seconds} GPU-seconds`}>${formatDuration(level.gpu_seconds)} GPU</span>`}</td></tr>`,
        )}</tbody></table></div>
    </section>`;
}

const MANY_PAIRS = 15; // from here on those that show nothing are folded away

function PairTable({ label, pairs, k }) {
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label=${label}><table class="list still">
      <thead><tr><th scope="col">Levels</th><th scope="col">Better</th><th scope="col" class="right">p, corrected</th><th scope="col" class="right">Superiority of the first</th>
        <th scope="col" class="right">Difference after ${k}</th></tr></thead>
      <tbody>${pairs.map(
        (pair) => html`<tr><td class="name mono" title=${pair.levels.map(levelTitle).join(" – ")}>${pair.levels.map(formatParam).join(" – ")}</td>
        <td class="name">${pair.better === null ? html`<span class="muted">not shown</span>` : html`<b class="mono" title=${levelTitle(pair.levels[pair.better])}>${formatParam(pair.levels[pair.better])}</b>`}</td>
        <td class="right"><${Figure} of=${pair.p_corrected} digits=${2} /></td><td class="right"><${Figure} of=${pair.superiority} digits=${2} /></td>
        <td class="right">${interval(pair.difference)}</td></tr>`,
      )}</tbody></table></div>`;
}

function Pairs({ comparison: { pairs, k } }) {
  if (!pairs.length) return null;
  const shown = pairs.length < MANY_PAIRS ? pairs : pairs.filter((pair) => pair.better !== null);
  const rest = pairs.length - shown.length;
  return html`
    <section class="card table-card"><h2>Pair by pair</h2>
      ${shown.length > 0 && html`<${PairTable} label="Pairs" pairs=${shown} k=${k} />`}
      ${rest > 0 && html`<details class="fold"><summary>${formatCount(rest)} pairs of which no difference is shown</summary>
        <${PairTable} label="Pairs without a difference" pairs=${pairs.filter((pair) => pair.better === null)} k=${k} /></details>`}
    </section>`;
}

// `study`: the one whose levels are compared; without it each level is one of `studies`.
export function ComparisonView({ comparison, study, studies = [] }) {
  const trialLink = (level) => {
    const id = study ? study.id : studies.find(({ name }) => name === level.best.study)?.id;
    return id === undefined ? "" : html`<${Link} class="muted" href=${trialAddress(id, level.best.trial)}>trial ${level.best.trial}<//>`;
  };
  return html`
    <p class="conclusion" role="status">${comparison.conclusion}</p>
    <div class="charts"><${BestAfter} comparison=${comparison} /></div>
    <${Levels} comparison=${comparison} trialLink=${trialLink} />
    <${Pairs} comparison=${comparison} />
    ${!study && html`<${SpaceDiff} studies=${studies} />`}
    <section class="card pad"><h2>What this rests on</h2>
      <ul class="rests muted"><li>${comparison.test}</li>${comparison.notes.map((note) => html`<li><${Inline} text=${note} /></li>`)}</ul>
      ${!study && html`<p>${studies.map(({ id, name }) => html`<${Link} href=${studyAddress(id)}>${name}<//> `)}</p>`}
    </section>`;
}
