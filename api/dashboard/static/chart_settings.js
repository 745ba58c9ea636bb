// Settings of a chart that its one-line header has no room for, in a small panel below it. Their values stand in the address.

import { html } from "./vendor/htm-preact.js";
import { Menu } from "./controls.js";

export const SCALES = [
  ["linear", "Linear"],
  ["log", "Logarithmic"],
];

export const RANGES = [
  ["typical", "Typical values"],
  ["all", "All values"],
];

export function Settings({ children }) {
  return html`<${Menu} label="Settings"><div class="settings">${children}</div><//>`;
}

export function Setting({ label, options, value, onChange }) {
  return html`<label class="setting"><span>${label}</span>
    <select value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      ${options.map(([key, text]) => html`<option value=${key} selected=${key === value}>${text}</option>`)}
    </select></label>`;
}
