// The product's mark, as in icon.svg but in the colours of the theme.

import { html } from "./vendor/htm-preact.js";

export function Mark() {
  return html`
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" /><path d="M5 22.5c4 0 4.5-13 8-13s3.5 9 7 9 3.5-5 7-5" /><circle cx="20" cy="18.5" r="3" />
    </svg>`;
}
