// Why a study has no trials to show, and the next command: what gives it some.

import { html } from "./vendor/htm-preact.js";
import { Command } from "./controls.js";
import { Empty } from "./notices.js";

// `children` is what the view would show once there are some.
export function NoTrials({ study, title = "No trials yet", children }) {
  const running = study.state === "RUNNING";
  const external = study.spec.trial?.executor === "external";
  const asked = external ? "Trials appear when a client asks for them:" : "The search makes a trial when a worker asks for one. Start a worker:";
  const client = `for trial in tuner.client.Client(${JSON.stringify(location.origin)}).asks(${JSON.stringify(study.name)}):`;
  return html`
    <${Empty} title=${title}>
      ${children}
      <p>${running ? asked : "This study was never given a trial."}</p>
      ${running && html`<${Command} text=${external ? client : `tuner worker --server ${location.origin}`} />`}
    <//>`;
}
