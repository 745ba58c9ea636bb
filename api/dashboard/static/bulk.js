// What is done with the trials that are selected: run again, cancelled, their configurations copied.

import { html, useState } from "./vendor/htm-preact.js";
import { post } from "./api.js";
import { Confirm, CopyButton } from "./controls.js";
import { formatCount } from "./format.js";
import { Banner } from "./notices.js";
import { toYaml } from "./yaml.js";

// Trials that an action applies to, and its question.
const ACTIONS = {
  retry: { label: "Run again", states: ["FAIL", "PRUNED", "COMPLETE"], question: "Their parameters are tried once more, as new trials." },
  cancel: { label: "Cancel", states: ["WAITING", "RUNNING"], question: "Running ones end at their next report and count as failed. This cannot be undone.", isFinal: true },
};
const MANY = 20; // trials; of more the number is typed before they are cancelled

export const paramsOf = (trials, number) =>
  Object.fromEntries(
    trials
      .paramNames()
      .map((name) => [name, trials.params[name][number]])
      .filter(([, value]) => value !== undefined),
  );

// Configurations as text: of one trial its parameters, of several each under its number.
export function asText(trials, numbers, format) {
  const data = numbers.length === 1 ? paramsOf(trials, numbers[0]) : Object.fromEntries(numbers.map((number) => [`trial_${number}`, paramsOf(trials, number)]));
  return format === "yaml" ? toYaml(data) : `${JSON.stringify(data, null, 2)}\n`;
}

function Question({ asking: { verb, numbers }, study, onConfirm, onClose }) {
  const { label, question, isFinal } = ACTIONS[verb];
  const trials = `${formatCount(numbers.length)} ${numbers.length === 1 ? "trial" : "trials"}`;
  return html`<${Confirm} title=${`${label}: ${trials} of ${study.name}?`} action=${`${label} ${trials}`} word=${isFinal && numbers.length > MANY ? String(numbers.length) : undefined}
    what="how many they are" onConfirm=${onConfirm} onClose=${onClose}>${question}<//>`;
}

// One request a trial; the first refusal is shown and the rest goes on. Who may only read may only copy.
export function Bulk({ feed, study, selected, clear, writer }) {
  const { trials } = feed;
  const [asking, ask] = useState(null); // {verb, numbers}, as they were when it was asked
  const [failure, setFailure] = useState(null);
  const [busy, setBusy] = useState(false);
  const numbers = [...selected].sort((a, b) => a - b);
  const able = (verb) => numbers.filter((number) => ACTIONS[verb].states.includes(trials.states[number]));
  const act = async ({ verb, numbers: chosen }) => {
    setBusy(true);
    setFailure(null);
    const failures = [];
    for (const number of chosen) {
      try {
        const enqueue = verb === "retry" && trials.states[number] === "COMPLETE";
        feed.mergeTrial(await (enqueue ? post(`${feed.path}/trials`, { params: paramsOf(trials, number) }) : post(`/v1/trials/${trials.ids[number]}/${verb}`)));
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
      ${
        writer &&
        Object.entries(ACTIONS).map(
          ([verb, { label }]) => html`<button class="small" disabled=${busy || !able(verb).length} onClick=${() => ask({ verb, numbers: able(verb) })}>${label} ${able(verb).length || ""}</button>`,
        )
      }
      <${CopyButton} label="Copy as YAML" text=${asText(trials, numbers, "yaml")} />
      <${CopyButton} label="Copy as JSON" text=${asText(trials, numbers, "json")} />
      <button class="small quiet" onClick=${clear}>Clear</button>
    </div>
    ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
    ${
      asking &&
      html`<${Question} asking=${asking} study=${study} onConfirm=${() => act(asking)} onClose=${() => ask(null)} />`
    }`;
}
