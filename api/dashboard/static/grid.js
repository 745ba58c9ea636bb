// A table of any length and width: only the rows and columns in sight are in the document. Up and down (or j and k) move, left and right bring
// other columns into sight, Enter opens the row, x selects it. Weakness: a head that has the focus loses it when its column is scrolled far away.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";

const [WIDE, COMPACT] = [32, 26]; // pixels of a row
const MARGIN = 8;
const SIDE = 240; // pixels beyond the edges in which columns are drawn: Tab comes to the next head before its column is in sight

// Which columns are drawn in a box that shows `wide` pixels from `left` on: [from, to). The first one is always; all are, where all have a place.
export function columnsInSight(widths, left, wide) {
  if (widths.reduce((sum, width) => sum + width, 0) <= wide) return [1, widths.length];
  let [at, from, to] = [widths[0], widths.length, widths.length];
  for (let index = 1; index < widths.length; index += 1) {
    if (from === widths.length && at + widths[index] > left - SIDE) from = index;
    if (at >= left + wide + SIDE) {
      to = index;
      break;
    }
    at += widths[index];
  }
  return [from, to];
}

// `columns`: [{key, label, width, align, cell(index), sortable, title, before}]; the first stays in sight; `before` stands in its head. `sorts` is [{key, descending}, ...], the first
// counting most; onSort gets {key, descendingFirst, add}; onToggle the row and whether all from the last one on are meant. `target` is {index} of a row to go to, a new object each time.
export function Grid({ label, columns, length, sorts, onSort, onOpen, onToggle, height, rowKey, compact = false, target = null }) {
  const ROW = compact ? COMPACT : WIDE;
  const box = useRef(null);
  const [top, setTop] = useState(0);
  const [active, setActive] = useState(-1);
  const [left, setLeft] = useState(0);
  const [seen, setSeen] = useState(height ?? 480);
  const [wide, setWide] = useState(Infinity);
  useLayoutEffect(() => {
    const measure = () => {
      setSeen(box.current.clientHeight);
      setWide(box.current.clientWidth);
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const first = Math.max(0, Math.floor(top / ROW) - MARGIN);
  const last = Math.min(length, Math.ceil((top + seen) / ROW) + MARGIN);
  const widths = columns.map((column) => column.width);
  const width = widths.reduce((sum, each) => sum + each, 0);
  // Until the box has been measured, which is before it is painted, no more than a wide screen has room for.
  const [from, to] = columnsInSight(widths, left, Number.isFinite(wide) ? wide : 0);
  const drawn = columns.map((column, index) => [column, index]).filter(([, index]) => index === 0 || (index >= from && index < to));
  // Where columns are left out, the one behind them says its place; those after it follow by themselves.
  const place = (index) => (index === from && from > 1 ? { gridColumnStart: index + 1 } : undefined);

  const move = (index) => {
    const next = Math.min(length - 1, Math.max(0, index));
    setActive(next);
    const view = box.current;
    if (next * ROW < view.scrollTop) view.scrollTop = next * ROW;
    else if ((next + 2) * ROW > view.scrollTop + view.clientHeight) view.scrollTop = (next + 2) * ROW - view.clientHeight;
  };
  const aside = (by) => {
    const starts = widths.reduce((found, each) => [...found, found.at(-1) + each], [0]).map((start) => start - widths[0]);
    const now = box.current.scrollLeft;
    box.current.scrollLeft = by > 0 ? starts.find((start) => start > now + 1) ?? now : (starts.findLast((start) => start < now - 1) ?? 0);
  };
  useEffect(() => {
    if (target) move(target.index);
  }, [target]);
  const onScroll = ({ currentTarget }) => {
    setTop(currentTarget.scrollTop);
    setLeft(currentTarget.scrollLeft);
  };
  const onKeyDown = (event) => {
    if (event.target !== box.current || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.floor(seen / ROW) - 2;
    const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -length, End: length };
    if (event.shiftKey && /^(Home|End)$/.test(event.key)) box.current.scrollLeft = event.key === "End" ? width : 0;
    else if (event.key in moves && length) move(active + moves[event.key]);
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") aside(event.key === "ArrowRight" ? 1 : -1);
    else if (event.key === "Enter" && active >= 0) onOpen(active);
    else if (/^x$/i.test(event.key) && active >= 0 && onToggle) onToggle(active, event.shiftKey);
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
           style=${{ top: `${index * ROW}px` }} onClick=${(event) => event.target.closest("a, button, label") || onOpen(index)}>
        ${drawn.map(
          ([column, at]) => html`<div key=${column.key} role="gridcell" aria-colindex=${at + 1} style=${place(at)}
          class=${column.align === "right" ? "cell right" : "cell"}>${column.cell(index)}</div>`,
        )}
      </div>`);
  }
  return html`
    <div class=${compact ? "grid compact" : "grid"} role="grid" tabindex="0" ref=${box} aria-label=${label} aria-rowcount=${length + 1} aria-colcount=${columns.length}
         aria-activedescendant=${active >= first && active < last ? `row-${active}` : undefined}
         style=${{ maxHeight: height ? `${height}px` : undefined, scrollPaddingLeft: `${widths[0]}px`, "--columns": columns.map(({ width: least, grow }) => `minmax(${least}px, ${grow ?? 1}fr)`).join(" ") }}
         onScroll=${onScroll} onKeyDown=${onKeyDown}>
      <div class="grid-head" role="row" aria-rowindex="1" style=${{ minWidth: `${width}px` }}>
        ${drawn.map(
          ([column, at]) => html`<div key=${column.key} role="columnheader" aria-colindex=${at + 1} style=${place(at)} data-key=${column.key} title=${column.title ?? column.label} aria-sort=${order(column)}
          class=${column.align === "right" ? "cell right" : "cell"}>${column.before}${header(column)}</div>`,
        )}
      </div>
      <div class="grid-body" role="rowgroup" style=${{ height: `${length * ROW}px`, minWidth: `${width}px` }}>${rows}</div>
    </div>`;
}
