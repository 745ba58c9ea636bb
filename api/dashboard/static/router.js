// The address is the state: which view, and its filters as query parameters. Links are ordinary links; clicks on them do not reload.

import { html, useEffect, useState } from "./vendor/htm-preact.js";

const ROUTES = [
  [/^\/(?:studies)?$/, "studies", []],
  [/^\/studies\/([^/]+)$/, "study", ["study"]],
  [/^\/studies\/([^/]+)\/trials\/(\d+)$/, "trial", ["study", "number"]],
  [/^\/admin$/, "admin", []],
  [/^\/compare$/, "compare", []],
  [/^\/new$/, "new", []],
  [/^\/workers$/, "workers", []],
  [/^\/login$/, "login", []],
];
const CHANGED = "tuner:address";

export function match(path) {
  for (const [pattern, view, names] of ROUTES) {
    const found = pattern.exec(path);
    if (!found) continue;
    try {
      return { view, params: Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(found[i + 1])])) };
    } catch {
      break; // no text stands for these signs
    }
  }
  return { view: "missing", params: {} };
}

export function navigate(address, { replace = false } = {}) {
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  dispatchEvent(new Event(CHANGED));
}

export function useRoute() {
  const read = () => ({ ...match(location.pathname), path: location.pathname });
  const [route, set] = useState(read);
  useEffect(() => {
    const update = () => set((old) => (old.path === location.pathname ? old : read()));
    addEventListener("popstate", update);
    addEventListener(CHANGED, update);
    return () => {
      removeEventListener("popstate", update);
      removeEventListener(CHANGED, update);
    };
  }, []);
  return route;
}

// This address with one query parameter changed; null takes it away.
export function withQuery(name, value) {
  const query = new URLSearchParams(location.search);
  if (value !== null) query.set(name, value);
  else query.delete(name);
  const text = query.toString();
  return location.pathname + (text ? `?${text}` : "");
}

// One query parameter as state; the default value does not stand in the address.
export function useQuery(name, initial = "") {
  const read = () => new URLSearchParams(location.search).get(name) ?? initial;
  const [value, set] = useState(read);
  useEffect(() => {
    const update = () => set(read());
    update();
    addEventListener("popstate", update);
    addEventListener(CHANGED, update);
    return () => {
      removeEventListener("popstate", update);
      removeEventListener(CHANGED, update);
    };
  }, [name, initial]);
  const change = (next) => navigate(withQuery(name, next === initial ? null : next), { replace: true });
  return [value, change];
}

export function Link({ href, children, ...rest }) {
  const onClick = (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(href);
    scrollTo(0, 0);
  };
  return html`<a href=${href} onClick=${onClick} ...${rest}>${children}</a>`;
}

export const studyAddress = (study) => `/studies/${study}`;
export const trialAddress = (study, number) => `/studies/${study}/trials/${number}`;
