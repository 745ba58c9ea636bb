// The end of a trial's log, followed while it runs. The oldest lines are dropped beyond MAX_LINES.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { get, isOutage } from "./api.js";
import { isAway } from "./connection.js";

const POLL = 2_000;
const MAX_LINES = 2_000;
const PAGE = 1_000;

export function Logs({ trialId, running }) {
  const [lines, setLines] = useState(null); // null before the first answer
  const [follow, setFollow] = useState(true);
  const box = useRef(null);
  const cursor = useRef(null);
  const began = useRef(false);
  useEffect(() => {
    let gone = false;
    let timer;
    const read = async () => {
      let again = running;
      try {
        for (let full = !(isAway() && running && began.current); full; ) {
          const place = cursor.current ? `limit=${PAGE}&cursor=${encodeURIComponent(cursor.current)}` : `tail=${MAX_LINES}`;
          const page = await get(`/v1/trials/${trialId}/logs?${place}`);
          if (gone) return;
          began.current = true;
          full = cursor.current !== null && page.items.length === PAGE;
          cursor.current = page.next_cursor;
          setLines((old) => (old && !page.items.length ? old : [...(old ?? []), ...page.items].slice(-MAX_LINES)));
        }
      } catch (error) {
        again ||= isOutage(error); // the connection mark in the header says so
      }
      if (again && !gone) timer = setTimeout(read, POLL);
    };
    read();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [trialId, running]);
  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, follow]);
  const onScroll = ({ currentTarget: view }) => setFollow(view.scrollHeight - view.scrollTop - view.clientHeight < 24);
  return html`
    <section class="card pad"><div class="chart-head"><h2>Log</h2>
      ${running && html`<span class="muted">${follow ? "following" : "scroll down to follow"}</span>`}</div>
      ${
        lines?.length
          ? html`
            <div class="code log" tabindex="0" role="log" aria-label="Log" ref=${box} onScroll=${onScroll}>
              ${lines.map((line) => html`<div key=${line.id} data-stream=${line.stream} title=${line.created_at}>${line.text}</div>`)}
            </div>`
          : html`<p class="muted">${lines ? `No output${running ? " yet" : ""}.` : "The log is being read …"}</p>`
      }
    </section>`;
}
