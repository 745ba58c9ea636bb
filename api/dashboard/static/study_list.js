// The list of studies, live: one stream of summaries for the whole project; and how each has come along, asked for with the page.

import { useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { get, isOutage } from "./api.js";
import { isAway, Source } from "./connection.js";
import { follow } from "./stream.js";

const PAGE = 50;
const REDRAW_INTERVAL = 250;
const RETRY_INTERVAL = 1_500;
const LONGEST_ANSWER = 10_000;
const PROGRESS_INTERVAL = 15_000;

// What decides whether a search or a choice of states finds a study.
const marks = ({ name, tags, state, archived }) => JSON.stringify([name, tags, state, archived]);

// Whether a study that is not shown would stand above the last one shown (newest first), and not on a later page.
const newer = (study, items) => !items.length || study.id > items.at(-1).id;

export function useStudies(query, state, archived) {
  const [list, setList] = useState({ items: null, cursor: null, error: null });
  const latest = useRef(list);
  const change = (made) => {
    latest.current = made(latest.current);
    setList(latest.current);
  };
  const address = (cursor) => {
    const parameters = new URLSearchParams({ limit: PAGE, archived });
    if (query) parameters.set("q", query);
    if (state) parameters.set("state", state);
    if (cursor) parameters.set("cursor", cursor);
    return `/v1/studies?${parameters}`;
  };
  useEffect(() => {
    let gone = false;
    let merging = null;
    let retrying = null;
    const changed = new Map();
    const seen = new Map(); // id -> its marks when last heard of
    // Reads the newest studies, at least `wanted` of them. Whether the server answered.
    const load = async (wanted) => {
      clearTimeout(retrying);
      try {
        const items = [];
        let cursor = null;
        do {
          const page = await get(address(cursor), { signal: AbortSignal.timeout(LONGEST_ANSWER) });
          items.push(...page.items);
          cursor = page.next_cursor;
        } while (cursor && items.length < wanted && !gone);
        if (!gone) change(() => ({ items, cursor, error: null }));
        return true;
      } catch (error) {
        if (gone) return false;
        const answered = !isOutage(error);
        change((old) => ({ ...old, error }));
        if (!answered) {
          clearTimeout(retrying); // of another that failed meanwhile
          retrying = setTimeout(() => load(wanted), RETRY_INTERVAL);
        }
        return answered;
      }
    };
    const reload = () => load(latest.current.items?.length ?? PAGE);
    // Whether the page may have other studies than those shown after the change of one.
    const moves = ([id, study], items) => {
      if (!study) return false;
      const shown = items.find((item) => item.id === id);
      if (!query && !state) return !shown && study.archived === archived && newer(study, items);
      return shown ? marks(shown) !== marks(study) : seen.get(id) !== marks(study) && newer(study, items);
    };
    // Summaries replace the rows shown; a study that is not shown may belong on this page, so the page is asked for again.
    const merge = () => {
      merging = null;
      const { items } = latest.current;
      const stale = !items || [...changed].some((change) => moves(change, items));
      for (const [id, study] of changed) if (study) seen.set(id, marks(study));
      const merged = items?.map((study) => (changed.has(study.id) ? changed.get(study.id) : study)).filter((study) => study && study.archived === archived) ?? null;
      changed.clear();
      change((old) => ({ ...old, error: null, items: merged }));
      if (stale) reload();
    };
    load(PAGE);
    let dropped = false;
    const source = new Source();
    source.open();
    const stop = follow("/v1/events", {
      lastId: () => null, // each connection begins with all summaries
      onEvent: ({ event, data }) => {
        changed.set(data.id, event === "deleted" ? null : data);
        merging ??= setTimeout(merge, REDRAW_INTERVAL);
      },
      onState: (connection) => {
        source.set(connection);
        if (connection === "live" && dropped) reload();
        dropped = connection === "reconnecting" || connection === "paused";
      },
      // One look at the stream knows nothing of what was deleted, and of the newest studies only.
      poll: reload,
    });
    return () => {
      gone = true;
      clearTimeout(merging);
      clearTimeout(retrying);
      stop();
      source.close();
    };
  }, [query, state, archived]);
  const more = async () => {
    const page = await get(address(list.cursor));
    change((old) => ({ ...old, items: [...old.items, ...page.items], cursor: page.next_cursor }));
  };
  const replace = (study) => change((old) => ({ ...old, items: old.items.map((item) => (item.id === study.id ? study : item)).filter((item) => item.archived === archived) }));
  return { ...list, more, replace };
}

// {id: {best, trials_per_hour}} of the studies shown; asked for at once for those that come or end, and again every while for those that run.
export function useProgress(items) {
  const [progress, set] = useState({});
  const seen = useRef(new Map()); // id -> whether it ran when last seen
  const due = useRef(new Set()); // to be asked for, whether they run or not
  const read = useRef(null);
  useEffect(() => {
    let gone = false;
    read.current = async (ids) => {
      for (let at = 0; at < ids.length && !gone; at += PAGE) {
        const asked = ids.slice(at, at + PAGE);
        for (const id of asked) due.current.delete(id);
        try {
          const { items: found } = await get(`/v1/progress?ids=${asked.join(",")}`);
          if (!gone) set((old) => ({ ...old, ...Object.fromEntries(found.map((item) => [item.study_id, item])) }));
        } catch {
          for (const id of ids.slice(at)) due.current.add(id); // the next turn tries again
          return;
        }
      }
    };
    const again = () => {
      const running = [...seen.current].flatMap(([id, runs]) => (runs ? [id] : []));
      if (!isAway()) read.current([...new Set([...running, ...due.current])]);
    };
    const timer = setInterval(again, PROGRESS_INTERVAL);
    return () => {
      gone = true;
      clearInterval(timer);
    };
  }, []);
  useEffect(() => {
    const before = seen.current;
    seen.current = new Map((items ?? []).map(({ id, finished_at }) => [id, finished_at === null]));
    const fresh = [...seen.current].flatMap(([id, runs]) => (before.get(id) === undefined || (before.get(id) && !runs) ? [id] : []));
    if (fresh.length) read.current(fresh);
  }, [items]);
  return progress;
}
