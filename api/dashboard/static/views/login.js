// Login with the one-time code of the address that `tuner up` prints, or with an API key. Neither is kept: the session is a cookie.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { post } from "../api.js";
import { Mark } from "../mark.js";

// Only a path of this site is a place to go to after login.
export function destination(search) {
  const next = new URLSearchParams(search).get("next") ?? "/";
  return /^\/(?![/\\])/.test(next) ? next : "/";
}

export function Login() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  const [busy, setBusy] = useState(Boolean(code));
  const [failure, setFailure] = useState(null);
  const enter = async (body) => {
    setBusy(true);
    setFailure(null);
    try {
      await post("/v1/sessions", body, { login: false });
      location.replace(destination(location.search));
    } catch (error) {
      setFailure(error.message);
      setBusy(false);
    }
  };
  useEffect(() => {
    document.title = "Log in · Tuner";
    if (!code) return;
    history.replaceState(null, "", location.pathname + location.search); // the code is used up; out of the history with it
    enter({ code });
  }, []);
  const submit = (event) => {
    event.preventDefault();
    enter({ key: new FormData(event.currentTarget).get("key").trim() });
  };
  return html`
    <main class="login"><div class="card pad">
      <${Mark} />
      <h1>Log in to Tuner</h1>
      ${failure && html`<p class="bad" role="alert">${failure}</p>`}
      <form onSubmit=${submit}>
        <label for="key">API key</label>
        <input id="key" name="key" type="password" autocomplete="off" required placeholder="tnr_…" disabled=${busy} autofocus=${!code} />
        <button class="primary" disabled=${busy}>${busy ? "Logging in…" : "Log in"}</button>
      </form>
      <p class="muted">Or open the address that <code>tuner up</code> prints: it logs you in once. Its key stands in <code>credentials.json</code> in the data folder.</p>
    </div></main>`;
}
