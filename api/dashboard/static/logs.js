// The end of a trial's log, followed while it runs. The oldest lines are dropped beyond MAX_LINES.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";

const POLL = 2_000;
const MAX_LINES = 2_000;
const PAGE = 1_000;

export function Logs({ trialId, running }) {
  const [lines, setLines] = useState([]);
  const [follow, setFollow] = useState(true);
  const box = useRef(null);
  const cursor = useRef(null);
  useEffect(() => {
    let gone = false;
    let timer;
    const read = async () => {
      try {
        for (let full = true; full && !gone;) {
          const page = await get(
            `/v1/trials/${trialId}/logs?limit=${PAGE}${cursor.current ? `&cursor=${encodeURIComponent(cursor.current)}` : ""}`,
          );
          if (gone) return;
          cursor.current = page.next_cursor;
          full = page.items.length === PAGE;
          if (page.items.length) setLines((old) => [...old, ...page.items].slice(-MAX_LINES));
        }
      } catch {
        /* the connection mark in the header says so; the next poll tries again */
      }
      if (running && !gone) timer = setTimeout(read, POLL);
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
        lines.length
          ? html`
            <div class="code log" tabindex="0" role="log" aria-label="Log" ref=${box} onScroll=${onScroll}>
              ${lines.map((line) => html`<div key=${line.id} data-stream=${line.stream} title=${line.created_at}>${line.text}</div>`)}
            </div>`
          : html`<p class="muted">No output${running ? " yet" : ""}.</p>`
      }
    </section>`;
}
