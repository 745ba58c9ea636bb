// For admins: whether all works, API keys, made (the secret is shown once) and revoked, projects, and the log of what happened.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { Activity } from "../activity.js";
import { get, post, request } from "../api.js";
import { useAsked } from "../asking.js";
import { Ago, Command, Confirm } from "../controls.js";
import { Banner, Empty, Loading, Pending } from "../notices.js";
import { useCaller } from "../session.js";

const SCOPES = {
  admin: "everything, keys included",
  submitter: "makes and steers studies",
  worker: "leases trials and nothing else",
  viewer: "looks",
};
const LIFETIMES = [
  ["", "never"],
  ["86400", "in a day"],
  ["2592000", "in 30 days"],
  ["31536000", "in a year"],
];
const OPERATOR_PROJECT = "default"; // its admins make keys of any project
const LOG_PAGE = 50;
const ASKING = { interval: 15_000, tells: true };

function NewKey({ project, onMade }) {
  const [name, setName] = useState("");
  const [scope, setScope] = useState("worker");
  const [lifetime, setLifetime] = useState("");
  const [home, setHome] = useState(project);
  const [failure, setFailure] = useState(null);
  const create = async (event) => {
    event.preventDefault();
    setFailure(null);
    try {
      const made = await post("/v1/keys", { name, scope, project: home, expires_in: lifetime ? Number(lifetime) : null });
      setName("");
      onMade(made);
    } catch (error) {
      setFailure(`The key was not made: ${error.message}`);
    }
  };
  return html`
    <form class="fields new-key" onSubmit=${create}>
      <label class="field"><span>Name</span><input required maxlength="200" value=${name} onInput=${(event) => setName(event.currentTarget.value)} /></label>
      <label class="field"><span>Scope</span><select value=${scope} onChange=${(event) => setScope(event.currentTarget.value)}>
        ${Object.keys(SCOPES).map((key) => html`<option value=${key} selected=${key === scope}>${key}</option>`)}</select>
        <small class="muted">${SCOPES[scope]}</small></label>
      ${
        project === OPERATOR_PROJECT &&
        html`<label class="field"><span>Project</span><input required maxlength="100" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" title="letters, digits, . _ -" value=${home} onInput=${(event) => setHome(event.currentTarget.value)} /></label>`
      }
      <label class="field"><span>Expires</span><select value=${lifetime} onChange=${(event) => setLifetime(event.currentTarget.value)}>
        ${LIFETIMES.map(([value, text]) => html`<option value=${value} selected=${value === lifetime}>${text}</option>`)}</select></label>
      <div class="field"><span aria-hidden="true"> </span><button class="primary">Make key</button></div>
    </form>
    ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}`;
}

function status(key, now) {
  if (key.revoked_at) return "revoked";
  return key.expires_at && Date.parse(key.expires_at) <= now ? "expired" : "valid";
}

function Keys({ caller, onMade }) {
  const { answer, error: missing, again: read } = useAsked(({ signal }) => get("/v1/keys", { signal }), ASKING);
  const keys = answer?.items;
  const [made, setMade] = useState(null);
  const [asking, ask] = useState(null);
  const [failure, setFailure] = useState(null);
  const revoke = async (key) => {
    try {
      await request("DELETE", `/v1/keys/${key.id}`);
      read();
    } catch (error) {
      setFailure(`The key was not revoked: ${error.message}`);
    }
  };
  const now = Date.now();
  return html`
    <section class="card pad" aria-label="API keys"><h2>API keys</h2>
      <${NewKey} project=${caller.project} onMade=${(key) => {
        setMade(key);
        onMade();
        read();
      }} />
      ${
        made &&
        html`<div class="once" role="status"><p>The key <b>${made.name}</b>. It is shown this once: copy it now.</p>
          <${Command} text=${made.key} /><button class="quiet small" onClick=${() => setMade(null)}>I have it</button></div>`
      }
      ${failure && html`<${Banner} onClose=${() => setFailure(null)}>${failure}<//>`}
      ${
        !keys
          ? html`<${Pending} error=${missing} rows=${3} />`
          : html`<div class="scroll" tabindex="0" role="region" aria-label="Keys"><table class="list still">
        <thead><tr><th scope="col">Name</th><th scope="col">Scope</th><th scope="col">Project</th><th scope="col">State</th>
          <th scope="col">Made</th><th scope="col">Last used</th><th scope="col">Expires</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
        <tbody>${[...keys].reverse().map(
          (key) => html`<tr key=${key.id} class=${status(key, now) === "valid" ? "" : "stale"}>
          <td class="name" title=${key.name}>${key.name}${key.id === caller.key_id && html` <span class="tag">this session</span>`}</td>
          <td>${key.scope}</td><td>${key.project}</td><td>${status(key, now)}</td><td class="muted"><${Ago} at=${key.created_at} /></td>
          <td class="muted">${key.last_used_at ? html`<${Ago} at=${key.last_used_at} />` : "never"}</td>
          <td class="muted">${key.expires_at ? new Date(key.expires_at).toISOString().slice(0, 10) : "never"}</td>
          <td class="right">${status(key, now) === "valid" && html`<button class="small danger-quiet" aria-label=${`Revoke ${key.name}`} onClick=${() => ask(key)}>Revoke</button>`}</td></tr>`,
        )}</tbody></table></div>`
      }
      ${
        asking &&
        html`<${Confirm} title=${`Revoke the key ${asking.name}?`} action="Revoke the key" word=${asking.name} what="its name" onConfirm=${() => revoke(asking)} onClose=${() => ask(null)}>
          ${asking.id === caller.key_id ? "This session acts as it: you will be logged out." : "Whoever uses it is refused from then on. This cannot be undone."}<//>`
      }
    </section>`;
}

function Health() {
  const { answer: server, error } = useAsked(({ signal }) => get("/v1/server", { signal }), ASKING);
  if (!server) return null;
  const searching = server.searches > 0;
  return html`
    <dl class="strip" aria-label="Health">
      <div class="stat"><dt>Server</dt><dd class="figure">${server.version}</dd><dd class="sub">${error ? html`<span class="bad">does not answer</span>` : "answers"}</dd></div>
      <div class="stat"><dt>Database</dt><dd class="figure">${server.database.split(" ")[0]}</dd><dd class="sub">PostgreSQL, schema ${server.schema_revision}</dd></div>
      <div class="stat"><dt>Search</dt><dd class="figure">${server.searches} ${server.searches === 1 ? "process" : "processes"}</dd>
        <dd class="sub">${searching ? "suggests and judges" : html`<span class="bad">nobody suggests: start <code>tuner search</code></span>`}</dd></div>
    </dl>`;
}

// `made`: how many keys have been made here; a key may have brought a project.
function Projects({ made }) {
  const { answer, error } = useAsked(({ signal }) => get("/v1/projects", { signal }), { ...ASKING, occasion: made });
  const projects = answer?.items;
  return html`
    <section class="card table-card" aria-label="Projects"><h2>Projects</h2>
      ${
        !projects
          ? html`<${Pending} error=${error} rows=${2} />`
          : html`<div class="scroll" tabindex="0" role="region" aria-label="List of projects"><table class="list still"><thead><tr><th scope="col">Name</th>
        <th scope="col" class="right">Studies</th><th scope="col" class="right">Valid keys</th><th scope="col">Made</th></tr></thead>
        <tbody>${projects.map(
          (project) => html`<tr key=${project.name}><td class="name">${project.name}</td><td class="right">${project.studies}</td>
          <td class="right">${project.keys}</td><td class="muted"><${Ago} at=${project.created_at} /></td></tr>`,
        )}</tbody></table></div>`
      }
      <p class="pad muted">A project comes to be with its first key${projects?.length > 1 ? "" : ": name a new one in the form above"}.</p>
    </section>`;
}

// {events, ended}: the newest pages of the log, and whether there is nothing older.
async function readLog(pages, signal) {
  const events = [];
  for (let page = 0; page < pages; page += 1) {
    const { items } = await get(`/v1/log?limit=${LOG_PAGE}${page ? `&before=${events.at(-1).id}` : ""}`, { signal });
    events.push(...items);
    if (items.length < LOG_PAGE) return { events, ended: true };
  }
  return { events, ended: false };
}

function Log() {
  const [pages, show] = useState(1);
  const { answer, error } = useAsked(({ signal }) => readLog(pages, signal), { ...ASKING, occasion: pages });
  const { events, ended } = answer ?? {};
  return html`
    <section class="card pad" aria-label="Log"><h2>Log</h2>
      ${!events ? html`<${Pending} error=${error} rows=${3} />` : events.length ? html`<${Activity} events=${events} withStudy=${true} />` : html`<p class="chart-note">Nothing has happened yet.</p>`}
      ${events?.length > 0 && !ended && html`<p class="centred"><button onClick=${() => show(pages + 1)}>Show older</button></p>`}
    </section>`;
}

export function Admin() {
  const caller = useCaller();
  const [made, setMade] = useState(0); // keys made here: the list of projects is asked for anew
  useEffect(() => {
    document.title = "Admin · Tuner";
  }, []);
  if (!caller) return html`<${Loading} />`;
  if (caller.scope !== "admin") return html`<${Empty} title="For admins"><p>The key ${caller.name} has the scope ${caller.scope}.</p><//>`;
  return html`<div class="page-head"><h1>Admin</h1><span class="muted">project ${caller.project}</span></div>
    <${Health} /><${Keys} caller=${caller} onMade=${() => setMade((count) => count + 1)} /><${Projects} made=${made} /><${Log} />`;
}
