// The log in words: what happened, to what, by whom.

import { html } from "./vendor/htm-preact.js";
import { Ago } from "./controls.js";
import { formatReason } from "./format.js";
import { describeEdit } from "./space_edits.js";
import { Link, studyAddress, trialAddress } from "./router.js";

const WORDS = {
  created: "Study created",
  limits_changed: "Limits changed",
  space_edited: "Search space edited",
  paused: "Study paused",
  resumed: "Study resumed",
  stopping: "Study stopping: running trials may end",
  stopped: "Study stopped",
  cancelled: "Study cancelled",
  completed: "Study complete",
  finished: "Study finished",
  failed: "Study failed",
  imported: "Study imported",
  study_deleted: "Study deleted",
  trial_cancelled: "Trial cancelled",
  lease_expired: "Worker lost, its trial waits for another",
  trial_lost: "Trial given up after its workers were lost",
  search_failed: "The search failed",
  search_recovered: "The search works again",
  key_created: "Key created",
  key_revoked: "Key revoked",
};

// What an event says beyond its kind: [text].
export function details({ data }) {
  const parts = [];
  if (data.key) parts.push(`${data.key}${data.scope ? ` (${data.scope})` : ""}`);
  if (data.name) parts.push(data.name);
  if (data.worker) parts.push(`worker ${data.worker}`);
  if (data.reason) parts.push(formatReason(data.reason));
  if (data.limits) parts.push(Object.entries(data.limits).map(([name, value]) => `${name} ${value ?? "unlimited"}`).join(", "));
  if (data.changes) parts.push(describeEdit(data.changes));
  if (data.trials) parts.push(`${data.trials} trials`);
  if (data.error) parts.push(String(data.error));
  if (data.by) parts.push(`by ${data.by}`);
  return parts.join(" · ");
}

export const words = (event) => WORDS[event.kind] ?? formatReason(event.kind);

export function Activity({ events, withStudy = false }) {
  return html`<ul class="activity">${events.map((event) => {
    const text = words(event);
    const address = event.study_id && (event.trial_number === null ? studyAddress(event.study_id) : trialAddress(event.study_id, event.trial_number));
    const subject = event.trial_number !== null ? `trial ${event.trial_number}` : withStudy && event.study_id ? `study ${event.study_id}` : null;
    return html`<li key=${event.id}><span>${text}${subject && address && html` · <${Link} href=${address}>${subject}<//>`}</span>
      <span class="muted">${details(event)}</span><span class="muted when"><${Ago} at=${event.created_at} /></span></li>`;
  })}</ul>`;
}
