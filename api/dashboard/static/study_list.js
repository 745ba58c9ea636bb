// The list of studies, live: one stream of summaries for the whole project; and how each has come along, asked for with the page.

import { useEffect, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { setConnection } from "./connection.js";
import { follow } from "./stream.js";

const PAGE = 50;
const REDRAW_INTERVAL = 250;
const PROGRESS_INTERVAL = 15_000;

// Whether a study that is not shown would stand above the last one shown (newest first), and not on a later page.
const newer = (study, items) => !items.length || study.id > items.at(-1).id;

export function useStudies(query, state, archived) {
  const [list, setList] = useState({ items: null, cursor: null, error: null });
  const address = (cursor) => {
    const parameters = new URLSearchParams({ limit: PAGE, archived });
    if (query) parameters.set("q", query);
    if (state) parameters.set("state", state);
    if (cursor) parameters.set("cursor", cursor);
    return `/v1/studies?${parameters}`;
  };
  useEffect(() => {
    let gone = false;
    let timer = null;
    const changed = new Map();
    const load = async () => {
      try {
        const page = await get(address());
        if (!gone) setList({ items: page.items, cursor: page.next_cursor, error: null });
      } catch (error) {
        if (gone) return;
        setList((old) => ({ ...old, error }));
        if (error.status === 0 || error.status >= 500) timer = setTimeout(load, 1500);
      }
    };
    // Summaries replace the rows shown; a study that is not shown may belong on this page, so the page is asked for again.
    const merge = () => {
      timer = null;
      setList((old) => {
        const known = new Set(old.items?.map((study) => study.id));
        if (!old.items || [...changed].some(([id, study]) => study && study.archived === archived && !known.has(id) && newer(study, old.items)) || state) load();
        const items = old.items?.map((study) => (changed.has(study.id) ? changed.get(study.id) : study)).filter((study) => study && study.archived === archived) ?? null;
        changed.clear();
        return { ...old, error: null, items };
      });
    };
    load();
    let dropped = false;
    const stop = follow("/v1/events", {
      lastId: () => null, // each connection begins with all summaries
      onEvent: ({ event, data }) => {
        changed.set(data.id, event === "deleted" ? null : data);
        timer ??= setTimeout(merge, REDRAW_INTERVAL);
      },
      onState: (connection) => {
        setConnection(connection);
        if (connection === "live" && dropped) load();
        dropped = connection === "reconnecting" || connection === "paused" || (dropped && connection !== "live");
      },
    });
    return () => {
      gone = true;
      clearTimeout(timer);
      stop();
    };
  }, [query, state, archived]);
  const more = async () => {
    const page = await get(address(list.cursor));
    setList((old) => ({ ...old, items: [...old.items, ...page.items], cursor: page.next_cursor }));
  };
  const replace = (study) => setList((old) => ({ ...old, items: old.items.map((item) => (item.id === study.id ? study : item)).filter((item) => item.archived === archived) }));
  return { ...list, more, replace };
}

// {id: {best, trials_per_hour}} of the studies shown; asked for at once for those that come, and again every while for those that run.
export function useProgress(items) {
  const [progress, set] = useState({});
  const ids = (items ?? []).map(({ id }) => id);
  const running = (items ?? []).filter(({ finished_at }) => finished_at === null).map(({ id }) => id);
  const missing = ids.filter((id) => !(id in progress));
  useEffect(() => {
    let gone = false;
    const read = async (wanted) => {
      for (let at = 0; at < wanted.length && !gone; at += PAGE) {
        try {
          const { items: found } = await get(`/v1/progress?ids=${wanted.slice(at, at + PAGE).join(",")}`);
          if (!gone) set((old) => ({ ...old, ...Object.fromEntries(found.map((item) => [item.study_id, item])) }));
        } catch {
          return; // the next turn tries again
        }
      }
    };
    read(missing);
    const timer = setInterval(() => document.hidden || read(running), PROGRESS_INTERVAL);
    return () => {
      gone = true;
      clearInterval(timer);
    };
  }, [missing.join(), running.join()]);
  return progress;
}
