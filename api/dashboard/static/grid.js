// A table of any length: only the rows in sight are in the document. Arrow keys (or j and k) move, Enter opens the row, x selects it.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";

const [WIDE, COMPACT] = [32, 26]; // pixels of a row
const MARGIN = 8;

// `columns`: [{key, label, width, align, cell(index), sortable, title}]; the first stays in sight. `sorts` is [{key, descending}, ...], the first
// counting most; onSort gets {key, descendingFirst, add}. `target` is {index} of a row to go to, a new object each time.
export function Grid({ label, columns, length, sorts, onSort, onOpen, onToggle, height, rowKey, compact = false, target = null }) {
  const ROW = compact ? COMPACT : WIDE;
  const box = useRef(null);
  const [top, setTop] = useState(0);
  const [active, setActive] = useState(-1);
  const [seen, setSeen] = useState(height ?? 480);
  useEffect(() => {
    const observer = new ResizeObserver(() => setSeen(box.current.clientHeight));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const first = Math.max(0, Math.floor(top / ROW) - MARGIN);
  const last = Math.min(length, Math.ceil((top + seen) / ROW) + MARGIN);
  const template = { gridTemplateColumns: columns.map((column) => `minmax(${column.width}px, ${column.grow ?? 1}fr)`).join(" ") };
  const width = columns.reduce((sum, column) => sum + column.width, 0);

  const move = (index) => {
    const next = Math.min(length - 1, Math.max(0, index));
    setActive(next);
    const view = box.current;
    if (next * ROW < view.scrollTop) view.scrollTop = next * ROW;
    else if ((next + 2) * ROW > view.scrollTop + view.clientHeight) view.scrollTop = (next + 2) * ROW - view.clientHeight;
  };
  useEffect(() => {
    if (target) move(target.index);
  }, [target]);
  const onKeyDown = (event) => {
    if (event.target !== box.current || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.floor(seen / ROW) - 2;
    const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -length, End: length };
    if (event.key in moves && length) move(active + moves[event.key]);
    else if (event.key === "Enter" && active >= 0) onOpen(active);
    else if (event.key === "x" && active >= 0 && onToggle) onToggle(active);
    else return;
    event.preventDefault();
  };
  const header = (column) => {
    if (!column.sortable) return column.label;
    const place = sorts.findIndex(({ key }) => key === column.key);
    const arrow = place < 0 ? "" : `${sorts[place].descending ? "↓" : "↑"}${sorts.length > 1 ? place + 1 : ""}`;
    return html`<button class="sort" title=${`Sort by ${column.label}; with Shift after the columns before`}
      onClick=${(event) => onSort({ key: column.key, descendingFirst: column.descendingFirst, add: event.shiftKey })}>
      <span>${column.label}</span><span aria-hidden="true" class="arrow">${arrow}</span></button>`;
  };
  // ARIA knows one sorted column: the one that counts most.
  const order = (column) => (sorts[0]?.key !== column.key ? undefined : sorts[0].descending ? "descending" : "ascending");
  const rows = [];
  for (let index = first; index < last; index += 1) {
    rows.push(html`
      <div key=${rowKey(index)} id=${`row-${index}`} role="row" aria-rowindex=${index + 2} class=${index === active ? "row active" : "row"}
           style=${{ ...template, top: `${index * ROW}px` }} onClick=${(event) => event.target.closest("a, button, label") || onOpen(index)}>
        ${columns.map((column) => html`<div role="gridcell" class=${column.align === "right" ? "cell right" : "cell"}>${column.cell(index)}</div>`)}
      </div>`);
  }
  return html`
    <div class=${compact ? "grid compact" : "grid"} role="grid" tabindex="0" ref=${box} aria-label=${label} aria-rowcount=${length + 1} aria-colcount=${columns.length}
         aria-activedescendant=${active >= first && active < last ? `row-${active}` : undefined}
         style=${{ maxHeight: height ? `${height}px` : undefined }}
         onScroll=${(event) => setTop(event.currentTarget.scrollTop)} onKeyDown=${onKeyDown}>
      <div class="grid-head" role="row" aria-rowindex="1" style=${{ ...template, minWidth: `${width}px` }}>
        ${columns.map(
          (column) => html`<div role="columnheader" data-key=${column.key} title=${column.title ?? column.label} aria-sort=${order(column)}
          class=${column.align === "right" ? "cell right" : "cell"}>${header(column)}</div>`,
        )}
      </div>
      <div class="grid-body" role="rowgroup" style=${{ height: `${length * ROW}px`, minWidth: `${width}px` }}>${rows}</div>
    </div>`;
}
