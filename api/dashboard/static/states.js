// States of studies and trials as people see them: an icon, a word, a colour; never the colour alone.

import { html } from "./vendor/htm-preact.js";
import { formatReason } from "./format.js";

const ICONS = {
  check: html`<path d="M3.5 8.5l3 3 6-7" />`,
  cross: html`<path d="M4 4l8 8M12 4l-8 8" />`,
  dot: html`<circle class="solid" cx="8" cy="8" r="4" />`,
  ring: html`<circle cx="8" cy="8" r="4.5" />`,
  cut: html`<path d="M3 8h5M10.5 4v8" />`,
  bars: html`<path d="M5.5 4v8M10.5 4v8" />`,
  square: html`<path class="solid" d="M4.5 4.5h7v7h-7z" />`,
};

export const TRIAL_STATES = {
  COMPLETE: { word: "Complete", icon: "check", tone: "complete" },
  RUNNING: { word: "Running", icon: "dot", tone: "running" },
  WAITING: { word: "Waiting", icon: "ring", tone: "waiting" },
  PRUNED: { word: "Pruned", icon: "cut", tone: "pruned" },
  FAIL: { word: "Failed", icon: "cross", tone: "failed" },
};

const ATTEMPT_TONES = { complete: "complete", pruned: "pruned", paused: "pruned", paused_at_rung: "pruned", preempted: "waiting", null: "complete" };

// An attempt has its colour by how it ended; whatever is not said here is a failure.
export const attemptTone = (attempt) => (attempt.ended_at ? (ATTEMPT_TONES[attempt.reason] ?? "failed") : "running");

export const STUDY_STATES = {
  RUNNING: { word: "Running", icon: "dot", tone: "running" },
  PAUSED: { word: "Paused", icon: "bars", tone: "pruned" },
  STOPPING: { word: "Stopping", icon: "square", tone: "pruned" },
  COMPLETE: { word: "Complete", icon: "check", tone: "complete" },
  STOPPED: { word: "Stopped", icon: "square", tone: "waiting" },
  FAIL: { word: "Failed", icon: "cross", tone: "failed" },
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true">${ICONS[name]}</svg>`;
}

export function State({ of = TRIAL_STATES, state, reason }) {
  const { word, icon, tone } = of[state] ?? { word: state, icon: "ring", tone: "waiting" };
  const says = reason && formatReason(reason) !== word.toLowerCase(); // "Pruned" needs no "pruned"
  return html`<span class="state" data-tone=${tone}><${Icon} name=${icon} />${word}${says && html`<span class="reason">${formatReason(reason)}</span>`}</span>`;
}

// A bar of finished and running trials against the limit, if there is one.
export function Progress({ counts, limit }) {
  const finished = counts.complete + counts.pruned + counts.fail;
  const whole = Math.max(limit ?? 0, finished + counts.running + (limit ? 0 : counts.waiting), 1);
  const parts = [
    ["complete", counts.complete],
    ["pruned", counts.pruned],
    ["failed", counts.fail],
    ["running", counts.running],
  ];
  const text = limit ? `${finished} of ${limit} trials finished` : `${finished} trials finished`;
  return html`
    <div class="progress" role="img" aria-label=${text}>
      ${parts.map(([tone, count]) => count > 0 && html`<span data-tone=${tone} style=${{ width: `${(100 * count) / whole}%` }}></span>`)}
    </div>`;
}
