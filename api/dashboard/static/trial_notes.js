// What people wrote about a trial; who may steer studies edits it in place.

import { html, useState } from "./vendor/htm-preact.js";
import { request } from "./api.js";
import { Markdown } from "./markdown.js";
import { Banner } from "./notices.js";

export function TrialNotes({ trial, editable, onSaved }) {
  const [draft, write] = useState(null); // null while it is only read
  const [failure, setFailure] = useState(null);
  const [busy, setBusy] = useState(false);
  if (!editable && !trial.notes) return null;
  const save = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      onSaved(await request("PATCH", `/v1/trials/${trial.id}`, { body: { notes: draft } }));
      write(null);
      setFailure(null);
    } catch (error) {
      setFailure(`The notes were not saved: ${error.message}`);
    }
    setBusy(false);
  };
  return html`
    <section class="card pad" aria-label="Notes"><div class="chart-head"><h2>Notes</h2>
      ${editable && draft === null && html`<button class="small" onClick=${() => write(trial.notes)}>${trial.notes ? "Edit" : "Write"}</button>`}</div>
      ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
      ${
        draft === null
          ? trial.notes
            ? html`<${Markdown} text=${trial.notes} />`
            : html`<p class="muted">None yet. What is written here stays with the trial.</p>`
          : html`<form onSubmit=${save}>
            <label class="field"><span class="visually-hidden">Notes of this trial</span>
              <textarea rows="6" maxlength="20000" value=${draft} onInput=${(event) => write(event.currentTarget.value)}></textarea>
              <small class="muted">Markdown: # heading, - list, **bold**, *italics*, \`code\`, [text](address)</small></label>
            <div class="actions"><button class="primary" disabled=${busy}>Save</button>
              <button type="button" onClick=${() => write(null)}>Leave it</button></div></form>`
      }
    </section>`;
}
