// A configuration of one's own for a study: a field a parameter, judged by the server as it judges those of the search.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { post } from "./api.js";
import { Select } from "./controls.js";
import { formatNumber, formatParam } from "./format.js";

const keyOf = (value) => JSON.stringify(value);

// What was typed as a value: a number where it is one, else the text.
const typed = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text);

// {name: value} of the fields that are filled; choices are kept as JSON, since they may be of any type.
export function readParams(answers, space) {
  return Object.fromEntries(
    Object.entries(answers)
      .filter(([, text]) => text !== "")
      .map(([name, text]) => [name, space[name]?.type === "categorical" ? JSON.parse(text) : typed(text)]),
  );
}

function startAnswers(params, space) {
  return Object.fromEntries(Object.entries(params).map(([name, value]) => [name, space[name]?.type === "categorical" ? keyOf(value) : String(value)]));
}

const hint = ({ low, high, log, step, when }) => [`${formatNumber(low)} to ${formatNumber(high)}`, log && "log", step && `step ${formatNumber(step)}`, when && "conditional"].filter(Boolean).join(", ");

function ParameterField({ name, parameter, value, problem, onChange }) {
  const id = `problem-${name}`;
  const shared = { "aria-label": name, "aria-invalid": Boolean(problem), "aria-describedby": problem ? id : undefined };
  return html`
    <label class="field"><span class="mono" title=${name}>${name}</span>
      ${
        parameter?.type === "categorical"
          ? html`<select ...${shared} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
          <option value="" selected=${value === ""}>${parameter.when ? "absent" : "choose …"}</option>
          ${parameter.choices.map((choice) => html`<option value=${keyOf(choice)} selected=${value === keyOf(choice)}>${formatParam(choice)}</option>`)}</select>`
          : html`<input ...${shared} inputmode="decimal" value=${value} placeholder=${parameter ? hint(parameter) : ""} onInput=${(event) => onChange(event.currentTarget.value)} />`
      }
      ${problem && html`<span id=${id} class="bad">${problem}</span>`}
    </label>`;
}

export function AddTrial({ feed, onClose }) {
  const { study, trials } = feed;
  const dialog = useRef(null);
  const space = study.spec.space ?? {};
  const names = Object.keys(space).length ? Object.keys(space) : trials.paramNames();
  const paramsOf = (number) => Object.fromEntries(names.map((name) => [name, trials.params[name]?.[number]]).filter(([, value]) => value !== undefined));
  const best = study.best_trial;
  const [from, setFrom] = useState(best === null ? "" : "best");
  const [answers, setAnswers] = useState(() => (best === null ? {} : startAnswers(paramsOf(best), space)));
  const [failure, setFailure] = useState(null);
  const [added, setAdded] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => dialog.current.showModal(), []);
  const start = (choice) => {
    setFrom(choice);
    setFailure(null);
    setAnswers(choice === "best" ? startAnswers(paramsOf(best), space) : {});
  };
  const add = async (event) => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    setAdded(null);
    try {
      const trial = await post(`${feed.path}/trials`, { params: readParams(answers, space) });
      feed.mergeTrial(trial);
      setAdded(trial.number);
    } catch (error) {
      setFailure(error);
    }
    setBusy(false);
  };
  const problems = Object.fromEntries((failure?.errors ?? []).map(({ loc, msg }) => [loc.replace(/^(body\.)?params\./, ""), msg]));
  const placed = names.some((name) => problems[name]);
  return html`
    <dialog ref=${dialog} class="wide" onClose=${onClose} aria-labelledby="add-trial">
      <form onSubmit=${add}>
        <div class="chart-head"><h2 id="add-trial">Add a trial</h2>
          ${best !== null && html`<${Select} label="Start from" value=${from} onChange=${start} options=${[["best", `as trial ${best}, the best`], ["", "empty fields"]]} />`}</div>
        <p class="muted about">It is tried as it stands here, before what the search suggests. Leave a conditional parameter empty where its condition does not hold.</p>
        <div class="fields">${names.map(
          (name) => html`<${ParameterField} key=${name} name=${name} parameter=${space[name]} value=${answers[name] ?? ""} problem=${problems[name]}
            onChange=${(text) => setAnswers({ ...answers, [name]: text })} />`,
        )}</div>
        ${failure && !placed && html`<p class="bad" role="alert">${failure.message}</p>`}
        ${failure && placed && html`<p class="bad" role="alert">The server refuses this configuration: see the fields.</p>`}
        ${added !== null && html`<p class="good" role="status">Trial ${added} waits for a worker.</p>`}
        <div class="actions"><button type="button" onClick=${() => dialog.current.close()}>${added === null ? "Leave it" : "Done"}</button>
          <button class="primary" disabled=${busy}>Add the trial</button></div>
      </form>
    </dialog>`;
}
