// A new study: answers on the left make the file on the right; or the file is written or pasted. The server checks it while one types.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { get, post } from "../api.js";
import { useAsked } from "../asking.js";
import { Choice, Confirm, useDelayed } from "../controls.js";
import { Banner, Failure, Loading } from "../notices.js";
import { Link, navigate, studyAddress } from "../router.js";
import { mayWrite, useCaller } from "../session.js";
import { fitting, INITIAL, toSpec } from "../spec_form.js";
import { toYaml } from "../yaml.js";

const PAUSE = 300; // milliseconds without a keystroke before the text is checked
const CATALOG_INTERVAL = 15_000;
const KINDS = [
  ["trainer", "Built-in trainer"],
  ["entrypoint", "Python function"],
  ["command", "Command"],
  ["external", "My own loop"],
];
const ABOUT = {
  trainer: "A model of the catalogue on a data set of the catalogue, trained by your workers.",
  entrypoint: "A function of your own code, called with the trial. The worker's operator must allow it.",
  command: "A program in any language, started by your workers. The worker's operator must allow it.",
  external: "Workers stay out of it: your code asks for trials and tells their values.",
};

function Field({ label, hint, children }) {
  return html`<label class="field"><span>${label}</span>${children}${hint && html`<small class="muted">${hint}</small>`}</label>`;
}

function Options({ names, value, onChange }) {
  return html`<select value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
    ${names.map((name) => html`<option value=${name} selected=${name === value}>${name}</option>`)}</select>`;
}

function TrainerFields({ answers, set, catalog }) {
  const models = fitting(catalog, answers.dataset).map((model) => model.name);
  const model = catalog.models.find((found) => found.name === answers.model);
  const toggle = (name) =>
    set({
      optimizers: catalog.optimizers
        .map((found) => found.name)
        .filter((known) => (known === name) !== answers.optimizers.includes(known)),
    });
  return html`
    <div class="fields">
      <${Field} label="Data set"><${Options} names=${catalog.datasets.map((found) => found.name)} value=${answers.dataset}
        onChange=${(dataset) => {
          const left = fitting(catalog, dataset).map((found) => found.name);
          set({ dataset, model: left.includes(answers.model) ? answers.model : left[0] });
        }} /><//>
      <${Field} label="Model" hint=${model?.summary}><${Options} names=${models} value=${answers.model} onChange=${(value) => set({ model: value })} /><//>
    </div>
    <fieldset class="field"><legend>Optimizers to compare</legend>
      <div class="checks">${catalog.optimizers.map(
        ({ name, summary }) => html`
        <label class="check" title=${summary}><input type="checkbox" checked=${answers.optimizers.includes(name)} onChange=${() => toggle(name)} />${name}</label>`,
      )}</div>
    </fieldset>
    <div class="fields">
      <${Field} label="Learning rate from"><input value=${answers.lrLow} onInput=${(event) => set({ lrLow: event.currentTarget.value })} /><//>
      <${Field} label="to"><input value=${answers.lrHigh} onInput=${(event) => set({ lrHigh: event.currentTarget.value })} /><//>
      <${Field} label="Batch sizes"><input value=${answers.batchSizes} onInput=${(event) => set({ batchSizes: event.currentTarget.value })} /><//>
      <${Field} label="Epochs"><input inputmode="numeric" value=${answers.epochs} onInput=${(event) => set({ epochs: event.currentTarget.value })} /><//>
    </div>`;
}

function OwnFields({ answers, set }) {
  return html`
    ${
      answers.kind === "entrypoint" &&
      html`<${Field} label="Function" hint="package.module:function, importable where the worker runs">
        <input class="mono" value=${answers.entrypoint} onInput=${(event) => set({ entrypoint: event.currentTarget.value })} /><//>`
    }
    ${
      answers.kind === "command" &&
      html`<${Field} label="Command" hint="the program and its arguments, with commas between; {lr} is the parameter lr">
        <input class="mono" value=${answers.command} onInput=${(event) => set({ command: event.currentTarget.value })} /><//>`
    }
    <div class="fields">
      <${Field} label="Objective" hint="the value your code reports"><input value=${answers.objective} onInput=${(event) => set({ objective: event.currentTarget.value })} /><//>
      <${Field} label="Direction"><${Options} names=${["minimize", "maximize"]} value=${answers.direction} onChange=${(direction) => set({ direction })} /><//>
    </div>
    <p class="muted">The search space is an example: write your parameters in the file.</p>`;
}

// Options of the sampler or the pruner chosen, called as in the file; what is left empty is as the placeholder says.
function StrategyOptions({ kind, name, options, given, set }) {
  if (!options.length) return null;
  const field = (option) => {
    const value = given[option.name] ?? "";
    const put = (text) => set({ ...given, [option.name]: text });
    const words = option.type === "bool" ? ["true", "false"] : option.type === "choice" ? option.choices : null;
    const usual = option.required ? "required" : String(option.default ?? "automatic");
    return html`<label class="field" key=${option.name}><span class="mono">${option.name}</span>
      ${
        words
          ? html`<select value=${value} onChange=${(event) => put(event.currentTarget.value)}>
            ${["", ...words].map((word) => html`<option value=${word} selected=${word === value}>${word || usual}</option>`)}</select>`
          : html`<input value=${value} placeholder=${usual} onInput=${(event) => put(event.currentTarget.value)} />`
      }</label>`;
  };
  return html`<details class="more" key=${name} open=${options.some(({ required }) => required)}><summary>Options of the ${kind} ${name}</summary><div class="fields">${options.map(field)}</div></details>`;
}

function Form({ answers, set, catalog, strategies }) {
  return html`
    <section class="card pad" aria-label="Form">
      <${Choice} label="How a trial is run" options=${KINDS} value=${answers.kind} onChange=${(kind) => set({ kind })} />
      <p class="muted about">${ABOUT[answers.kind]}</p>
      <${Field} label="Name" hint="free to choose; made up where absent">
        <input value=${answers.name} maxlength="200" onInput=${(event) => set({ name: event.currentTarget.value })} /><//>
      ${answers.kind === "trainer" ? html`<${TrainerFields} answers=${answers} set=${set} catalog=${catalog} />` : html`<${OwnFields} answers=${answers} set=${set} />`}
      <div class="fields">
        <${Field} label="Trials"><input inputmode="numeric" value=${answers.trials} onInput=${(event) => set({ trials: event.currentTarget.value })} /><//>
        <${Field} label="At once, at most"><input inputmode="numeric" value=${answers.concurrent} onInput=${(event) => set({ concurrent: event.currentTarget.value })} /><//>
        <${Field} label="Sampler"><${Options} names=${Object.keys(strategies.samplers)} value=${answers.sampler} onChange=${(sampler) => set({ sampler, samplerOptions: {} })} /><//>
        <${Field} label="Pruner"><${Options} names=${Object.keys(strategies.pruners)} value=${answers.pruner} onChange=${(pruner) => set({ pruner, prunerOptions: {} })} /><//>
      </div>
      <${StrategyOptions} kind="sampler" name=${answers.sampler} options=${strategies.samplers[answers.sampler]} given=${answers.samplerOptions} set=${(samplerOptions) => set({ samplerOptions })} />
      <${StrategyOptions} kind="pruner" name=${answers.pruner} options=${strategies.pruners[answers.pruner]} given=${answers.prunerOptions} set=${(prunerOptions) => set({ prunerOptions })} />
      <div class="fields">
        <${Field} label="Repeat on seeds" hint="promising configurations, on up to so many seeds"><input inputmode="numeric" placeholder="no repeats" value=${answers.repeat} onInput=${(event) => set({ repeat: event.currentTarget.value })} /><//>
        <${Field} label="Outcome constraints" hint="on metrics, with commas between"><input class="mono" placeholder="latency_ms <= 50" value=${answers.outcomeConstraints} onInput=${(event) => set({ outcomeConstraints: event.currentTarget.value })} /><//>
      </div>
    </section>`;
}

// The server's judgement of a text, asked for once typing pauses; null while it is under way.
function useCheck(text) {
  const [asked, ask] = useState(null);
  const asking = useDelayed(ask, PAUSE);
  useEffect(() => asking.soon(text), [text]);
  const { question, answer, error } = useAsked(({ signal }) => post("/v1/specs/check", { text: asked }, { signal }), { question: asked, when: asked !== null });
  return question === text ? { answer, error } : { answer: null, error: null };
}

function Verdict({ answer, error, onLine }) {
  if (error) return html`<p class="bad" role="alert">The text could not be checked: ${error.message}</p>`;
  if (!answer) return html`<p class="muted" role="status">Checking …</p>`;
  if (answer.valid) {
    const count = Object.keys(answer.spec.space).length;
    return html`<p class="good" role="status">Valid: ${count} ${count === 1 ? "parameter" : "parameters"}, ${answer.spec.limits.max_trials ?? "unlimited"} trials.</p>`;
  }
  return html`<div role="status" aria-label="Problems"><ul class="problems">${answer.problems.map(
    ({ loc, msg, line }) => html`
    <li>${line !== null && html`<button class="quiet small" onClick=${() => onLine(line)}>line ${line}</button>`}<b class="mono">${loc}</b> ${msg}</li>`,
  )}</ul></div>`;
}

function selectLine(area, line) {
  const lines = area.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  area.focus();
  area.setSelectionRange(start, start + lines[line - 1].length);
}

async function readCatalog({ signal }) {
  const [catalog, strategies] = await Promise.all(["/v1/catalog", "/v1/strategies"].map((path) => get(path, { signal })));
  return { catalog, strategies };
}

export function NewStudy() {
  const caller = useCaller();
  const { answer, error } = useAsked(readCatalog, { interval: CATALOG_INTERVAL, tells: true });
  const { catalog = null, strategies = null } = answer ?? {};
  const [answers, setAnswers] = useState(INITIAL);
  const [written, write] = useState(null); // the text once it is edited by hand; null while the form makes it
  const [failure, setFailure] = useState(null);
  const [busy, setBusy] = useState(false);
  const [dropping, drop] = useState(false);
  const area = useRef(null);
  useEffect(() => {
    document.title = "New study · Tuner";
  }, []);
  const text = written ?? toYaml(toSpec(answers, catalog));
  const check = useCheck(text);
  if (error && !answer) return html`<${Failure} error=${error} what="catalogue" />`;
  if (!catalog || !strategies || !caller) return html`<${Loading} />`;
  if (!mayWrite(caller)) return html`<${Failure} error=${{ status: 403, message: `The key ${caller.name} may look and not change anything.` }} what="form" />`;

  const create = async () => {
    setBusy(true);
    setFailure(null);
    try {
      const study = await post("/v1/studies", check.answer.spec);
      navigate(studyAddress(study.id));
      scrollTo(0, 0);
    } catch (problem) {
      setFailure(`The study was not created: ${problem.message}`);
      setBusy(false);
    }
  };
  return html`
    <nav class="crumbs" aria-label="Breadcrumb"><${Link} href="/studies">Studies<//></nav>
    <div class="page-head"><h1>New study</h1></div>
    ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
    <div class="columns even">
      ${
        written === null
          ? html`<${Form} answers=${answers} set=${(changes) => setAnswers((old) => ({ ...old, ...changes }))} catalog=${catalog} strategies=${strategies} />`
          : html`<section class="card pad"><h2>The file is yours now</h2>
            <p class="muted about">It was edited by hand, so the form does not touch it any more.</p>
            <button onClick=${() => drop(true)}>Back to the form, dropping the edits</button></section>`
      }
      ${
        dropping &&
        html`<${Confirm} title="Drop the edits?" action="Drop the edits" onConfirm=${() => write(null)} onClose=${() => drop(false)}>
          The file is written anew from the answers of the form; what was written by hand is lost.<//>`
      }
      <section class="card pad" aria-label="File">
        <div class="chart-head"><h2>Study file</h2><span class="muted">YAML or JSON: edit it, or paste your own</span></div>
        <textarea ref=${area} class="code editor" aria-label="Study file" spellcheck=${false} rows="26" value=${text}
          onInput=${(event) => write(event.currentTarget.value)}></textarea>
        <${Verdict} ...${check} onLine=${(line) => selectLine(area.current, line)} />
        <div class="actions"><button class="primary" disabled=${busy || !check.answer?.valid} onClick=${create}>Create study</button>
          <${Link} class="button" href="/studies">Back<//></div>
      </section>
    </div>`;
}
