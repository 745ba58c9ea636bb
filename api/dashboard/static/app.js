// Entry: the frame around every view, and which view the address means.

import { html, render, useEffect, useErrorBoundary, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { hold, lastHeard, useConnection } from "./connection.js";
import { CopyButton, ThemeSwitch, useClock } from "./controls.js";
import { formatDuration } from "./format.js";
import { Keyboard } from "./keyboard.js";
import { Mark } from "./mark.js";
import { Empty } from "./notices.js";
import { Link, useRoute } from "./router.js";
import { logOut, useCaller } from "./session.js";
import { Admin } from "./views/admin.js";
import { Compare } from "./views/compare.js";
import { Login } from "./views/login.js";
import { NewStudy } from "./views/new_study.js";
import { Studies } from "./views/studies.js";
import { Study } from "./views/study.js";
import { Trial } from "./views/trial.js";
import { Workers } from "./views/workers.js";

const VIEWS = { studies: Studies, study: Study, trial: Trial, workers: Workers, new: NewStudy, admin: Admin, compare: Compare };
const SECTIONS = [
  ["/studies", "Studies", ["studies", "study", "trial", "new", "compare"]],
  ["/workers", "Fleet", ["workers"]],
  ["/admin", "Admin", ["admin"]],
];
const WORDS = { live: "Live", polling: "Live", connecting: "Connecting", reconnecting: "Reconnecting", paused: "Paused" };

const TITLES = { live: "Changes appear as they happen", polling: "Changes are asked for every few seconds: something on the way holds streams back" };
const STALE_AFTER = 5_000; // milliseconds without the server

function Connection() {
  const { state, held } = useConnection();
  useClock();
  if (state === "none") return null;
  const heard = lastHeard();
  const seconds = Math.max(0, Math.round((Date.now() - heard) / 1000));
  const lag = heard && `${seconds < 60 ? `${seconds}s` : formatDuration(seconds)} ago`;
  const title = `${TITLES[state] ?? "What you see is the last good state"}${lag ? `; heard ${lag}` : ""}`;
  return html`<span class="connection" data-state=${state} title=${title}>
      <i aria-hidden="true"></i><span class="words"><span role="status">${WORDS[state]}</span>${state === "reconnecting" && lag && `, updated ${lag}`}</span></span>
    <button class="quiet square" aria-pressed=${held} aria-label="Hold live updates" title=${held ? "Go on with live updates" : "Hold live updates"} onClick=${() => hold(!held)}>
      <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">${held ? html`<path d="M5 3l8 5-8 5z" class="solid" />` : html`<path d="M5.500 3.500v9M10.500 3.500v9" />`}</svg></button>`;
}

// Whether what is shown may be out of date: nobody has answered for a while.
function useStale() {
  const { state, since } = useConnection();
  const [stale, set] = useState(false);
  useEffect(() => {
    set(false);
    if (state !== "reconnecting") return undefined;
    const timer = setTimeout(() => set(true), Math.max(0, since + STALE_AFTER - Date.now()));
    return () => clearTimeout(timer);
  }, [state, since]);
  return stale;
}

function Header({ view }) {
  const caller = useCaller();
  return html`
    <header class="top"><div class="inner">
      <${Link} class="brand" href="/studies" aria-label="Tuner: studies"><${Mark} /><span>Tuner</span><//>
      <nav aria-label="Sections">
        ${SECTIONS.filter(([href]) => href !== "/admin" || caller?.scope === "admin").map(([href, label, views]) => html`<${Link} href=${href} aria-current=${views.includes(view) ? "page" : undefined}>${label}<//>`)}
      </nav>
      <div class="right-side"><${Connection} /><${ThemeSwitch} />
        ${
          caller &&
          html`<span class="caller" title=${`${caller.scope} of project ${caller.project}`}>${caller.name}</span>
          <button class="quiet" onClick=${logOut}>Log out</button>`
        }
      </div>
    </div></header>`;
}

// Which server this is, the address of what is seen, and the keys.
function Footer({ onHelp }) {
  const [server, set] = useState(null);
  useEffect(() => {
    get("/v1/server").then(set, () => {});
  }, []);
  return html`
    <footer class="foot"><div class="inner">
      <span>Tuner ${server && html`${server.version} · schema ${server.schema_revision}`}</span>
      <span class="right-side"><${CopyButton} text=${() => location.href} label="Copy link" /><button class="small" onClick=${onHelp}>Keys <kbd>?</kbd></button></span>
    </div></footer>`;
}

// A fault in one view is shown as such and leaves the frame alive.
function Guarded({ children }) {
  const [error, reset] = useErrorBoundary((fault) => console.error(fault));
  if (!error) return children;
  return html`<${Empty} title="This view has failed" heading="h1"><p>${String(error)}</p><p><button onClick=${reset}>Try again</button></p><//>`;
}

function Page() {
  const { view, params, path } = useRoute();
  const [help, setHelp] = useState(false);
  const stale = useStale();
  if (view === "login") return html`<${Login} />`;
  const View = VIEWS[view];
  return html`
    <a class="skip" href="#content">Skip to content</a>
    <${Header} view=${view} />
    <main id="content" class="page" tabindex="-1" data-stale=${stale || undefined}><${Guarded} key=${path}>
      ${View ? html`<${View} params=${params} />` : html`<${Empty} title="There is no such page" heading="h1"><p><${Link} href="/studies">All studies<//></p><//>`}
    <//></main>
    <${Footer} onHelp=${() => setHelp(true)} />
    <${Keyboard} open=${help} onOpen=${() => setHelp(true)} onClose=${() => setHelp(false)} />`;
}

render(html`<${Page} />`, document.getElementById("app"));
