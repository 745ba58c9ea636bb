// What is done with the trials that are selected: run again, cancelled, their configurations copied.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { post } from "./api.js";
import { leaveOut } from "./chosen.js";
import { Confirm, CopyButton } from "./controls.js";
import { formatCount } from "./format.js";
import { Banner } from "./notices.js";
import { toYaml } from "./yaml.js";

const [AT_ONCE, MAX_NAMED] = [6, 10];

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

// Does `work` for each item, a few at a time, until `stopped.current`.
export async function eachOf(items, work, stopped) {
  const left = [...items];
  const next = async () => {
    while (left.length && !stopped.current) await work(left.shift());
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
}

// [[7, "not running"], ...] -> "trials 7, 9: not running; trial 8: ...": which could not be changed, by the reason.
export function reasons(failures) {
  const by = new Map();
  for (const [number, reason] of failures) by.set(reason, [...(by.get(reason) ?? []), number]);
  return [...by]
    .map(([reason, numbers]) => {
      const more = numbers.length > MAX_NAMED ? ` and ${formatCount(numbers.length - MAX_NAMED)} more` : "";
      return `${numbers.length === 1 ? "trial" : "trials"} ${numbers.slice(0, MAX_NAMED).join(", ")}${more}: ${reason}`;
    })
    .join("; ");
}

// One request a trial, a few at a time. What was refused, and what was not come to when it was stopped, stays selected. Who may only read may only
// copy. Weakness: leaving the table stops it.
export function Bulk({ feed, study, selection, shown, writer }) {
  const { trials } = feed;
  const [asking, ask] = useState(null); // {verb, numbers}, as they were when it was asked
  const [failure, setFailure] = useState(null);
  const [job, setJob] = useState(null); // {label, done, total} while it runs
  const stopped = useRef(false);
  useEffect(
    () => () => {
      stopped.current = true;
    },
    [],
  );
  const numbers = useMemo(() => [...selection.numbers].sort((a, b) => a - b), [selection.numbers]);
  const hidden = useMemo(() => {
    const here = new Set(shown);
    return numbers.filter((number) => !here.has(number)).length;
  }, [numbers, shown]);
  const able = (verb) => numbers.filter((number) => ACTIONS[verb].states.includes(trials.states[number]));
  const act = async ({ verb, numbers: chosen }) => {
    const total = chosen.length;
    const [done, failures] = [[], []];
    const one = async (number) => {
      try {
        const enqueue = verb === "retry" && trials.states[number] === "COMPLETE";
        feed.mergeTrial(await (enqueue ? post(`${feed.path}/trials`, { params: paramsOf(trials, number) }) : post(`/v1/trials/${trials.ids[number]}/${verb}`)));
        done.push(number);
      } catch (error) {
        failures.push([number, error.message]);
        stopped.current ||= error.status === 0; // nobody answers: the others need not be tried
      }
      setJob({ label: ACTIONS[verb].label, done: done.length + failures.length, total });
    };
    stopped.current = false;
    setFailure(null);
    setJob({ label: ACTIONS[verb].label, done: 0, total });
    await eachOf(chosen, one, stopped);
    setJob(null);
    if (failures.length || stopped.current) leaveOut(study.id, done);
    else selection.clear();
    if (failures.length) setFailure(`${formatCount(failures.length)} of ${formatCount(total)} could not be changed and stay selected: ${reasons(failures.sort((a, b) => a[0] - b[0]))}.`);
  };
  const stop = () => {
    stopped.current = true;
  };
  return html`
    <div class="bulk" role="group" aria-label="Selected trials">
      <b>${formatCount(numbers.length)} selected</b>${hidden > 0 && html`<span>${formatCount(hidden)} of them not shown</span>`}
      ${
        writer &&
        Object.entries(ACTIONS).map(
          ([verb, { label }]) => html`<button class="small" disabled=${Boolean(job) || !able(verb).length} onClick=${() => ask({ verb, numbers: able(verb) })}>${label} ${able(verb).length || ""}</button>`,
        )
      }
      <${CopyButton} label="Copy as YAML" text=${() => asText(trials, numbers, "yaml")} />
      <${CopyButton} label="Copy as JSON" text=${() => asText(trials, numbers, "json")} />
      <button class="small quiet" disabled=${Boolean(job)} onClick=${selection.clear}>Clear</button>
      ${
        job &&
        html`<progress value=${job.done} max=${job.total} aria-label=${job.label}></progress><span class="figure">${formatCount(job.done)} of ${formatCount(job.total)}</span>
        <button class="small" onClick=${stop}>Stop</button>`
      }
    </div>
    ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
    ${
      asking &&
      html`<${Question} asking=${asking} study=${study} onConfirm=${() => act(asking)} onClose=${() => ask(null)} />`
    }`;
}
