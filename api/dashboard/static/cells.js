// Columns of a study's trials that the feed does not carry: last, least and greatest value of a metric, attributes, facts of a run. Each is asked
// for when it is shown, and again now and then while trials change. A key is "metric:NAME:last|min|max", "attribute:NAME" or "fact:NAME".

import { useEffect, useReducer, useRef } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { useAsked } from "./asking.js";
import { decodeNumber } from "./format.js";

const INTERVAL = 5_000;
const NAMES_INTERVAL = 15_000;
const PARTS = ["last", "min", "max"];
const FACTS = { worker: "Worker", attempt: "Attempts", origin: "Origin", parent: "Parent", gpu_seconds: "GPU seconds" };

export function readKey(key) {
  const kind = key.slice(0, key.indexOf(":"));
  const rest = key.slice(kind.length + 1);
  if (kind !== "metric") return { kind, name: rest, part: "value" };
  const cut = rest.lastIndexOf(":");
  return { kind, name: rest.slice(0, cut), part: rest.slice(cut + 1) };
}

export function labelOf(key) {
  const { kind, name, part } = readKey(key);
  if (kind === "metric") return `${part} ${name}`;
  return kind === "fact" ? (FACTS[name] ?? name) : name;
}

// Groups of keys that can be shown: [[heading, keys], ...]. Trials that run may bring further ones.
export function useCellGroups(feed) {
  const interval = feed.study.counts.running > 0 ? NAMES_INTERVAL : null;
  const { answer: names } = useAsked(({ signal }) => get(`${feed.path}/cells/names`, { signal }), { question: feed.path, interval });
  if (!names) return [];
  return [
    ["Metrics", names.metrics.flatMap((name) => PARTS.map((part) => `metric:${name}:${part}`))],
    ["Attributes", names.attributes.map((name) => `attribute:${name}`)],
    ["Run", names.facts.map((name) => `fact:${name}`)],
  ].filter(([, keys]) => keys.length);
}

// {key: array by trial number} of the keys asked for, empty until they come.
export function useCells(feed, keys, version) {
  const cells = useRef({});
  const known = useRef(new Set()); // keys that have been asked for
  const asked = useRef(0);
  const home = useRef(null); // the study that answers are awaited of
  const [loaded, redraw] = useReducer((count) => count + 1, 0);
  const wanted = keys.join("|");
  useEffect(() => {
    home.current = feed.path;
    cells.current = {};
    known.current.clear();
    return () => {
      home.current = null;
    };
  }, [feed.path]);
  useEffect(() => {
    if (!keys.length) return undefined;
    const fresh = keys.some((key) => !known.current.has(key));
    const timer = setTimeout(
      async () => {
        asked.current = performance.now();
        for (const key of keys) known.current.add(key);
        const columns = new Set(keys.map((key) => JSON.stringify([readKey(key).kind, readKey(key).name])));
        for (const column of columns) {
          const [kind, name] = JSON.parse(column);
          try {
            const answer = await get(`${feed.path}/cells?kind=${kind}&name=${encodeURIComponent(name)}`);
            if (home.current !== feed.path) return;
            for (const part of Object.keys(answer.columns)) {
              const found = [];
              answer.numbers.forEach((number, i) => {
                const cell = answer.columns[part][i];
                found[number] = cell === null ? undefined : kind === "metric" || ["NaN", "Infinity", "-Infinity"].includes(cell) ? decodeNumber(cell) : cell;
              });
              cells.current[kind === "metric" ? `metric:${name}:${part}` : `${kind}:${name}`] = found;
            }
          } catch {
            /* what was there before stays; asked again with the next change */
          }
        }
        if (home.current === feed.path) redraw();
      },
      fresh ? 0 : Math.max(0, asked.current + INTERVAL - performance.now()),
    );
    // An answer that is under way is used even if there has been a change since: under steady changes none would ever come.
    return () => clearTimeout(timer);
  }, [feed.path, wanted, version]);
  return { cells: cells.current, loaded };
}
