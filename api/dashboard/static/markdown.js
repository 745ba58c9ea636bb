// A small part of Markdown as DOM nodes, never as HTML text: headings, lists, code, bold, italics, and links to http(s) addresses.
// What it does not know stays as it was written.

import { html, useMemo } from "./vendor/htm-preact.js";

// Labels and addresses are bounded: without, text full of "[" would be read to its end at each of them.
const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]\[]{1,300})\]\((https?:\/\/[^\s)]{1,2000})\)|(https?:\/\/[^\s<>()]*[^\s<>().,;:!?])/g;

// "a **b**" -> ["a ", {kind: "bold", text: "b"}]
export function inline(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > end) parts.push(text.slice(end, found.index));
    const [whole, code, bold, italic, label, href, bare] = found;
    if (code) parts.push({ kind: "code", text: code });
    else if (bold) parts.push({ kind: "bold", text: bold });
    else if (italic) parts.push({ kind: "italic", text: italic });
    else parts.push({ kind: "link", text: label ?? bare, href: href ?? bare });
    end = found.index + whole.length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

// [{kind: "heading" | "list" | "numbers" | "code" | "paragraph", lines: [text]}, ...]
export function blocks(text) {
  const found = [];
  let open = null; // the block that the next line may join
  const add = (kind, line) => {
    if (open?.kind !== kind) found.push((open = { kind, lines: [] }));
    open.lines.push(line);
  };
  let fenced = false;
  for (const line of text.replaceAll("\r\n", "\n").split("\n")) {
    if (/^```/.test(line)) {
      fenced = !fenced;
      open = null;
    } else if (fenced) add("code", line);
    else if (!line.trim()) open = null;
    else if (/^#{1,4} /.test(line)) {
      found.push({ kind: "heading", lines: [line.replace(/^#+ /, "")] });
      open = null;
    } else if (/^\s*[-*] /.test(line)) add("list", line.replace(/^\s*[-*] /, ""));
    else if (/^\s*\d+[.)] /.test(line)) add("numbers", line.replace(/^\s*\d+[.)] /, ""));
    else add("paragraph", line);
  }
  return found;
}

const TAGS = { code: "code", bold: "strong", italic: "em" };

export function Inline({ text }) {
  return inline(text).map((part) => {
    if (typeof part === "string") return part;
    if (part.kind === "link") return html`<a href=${part.href} rel="noreferrer noopener" target="_blank">${part.text}</a>`;
    return html`<${TAGS[part.kind]}>${part.text}<//>`;
  });
}

function Block({ kind, lines }) {
  const items = () => lines.map((line) => html`<li><${Inline} text=${line} /></li>`);
  if (kind === "heading") return html`<h3><${Inline} text=${lines[0]} /></h3>`;
  if (kind === "list") return html`<ul>${items()}</ul>`;
  if (kind === "numbers") return html`<ol>${items()}</ol>`;
  if (kind === "code") return html`<pre class="code" tabindex="0">${lines.join("\n")}</pre>`;
  return html`<p>${lines.map((line, i) => html`${i > 0 && html`<br />`}<${Inline} text=${line} />`)}</p>`;
}

// The same nodes as long as the text is the same: the page around it may be drawn each second.
export const Markdown = ({ text }) => useMemo(() => html`<div class="markdown">${blocks(text).map((block) => html`<${Block} ...${block} />`)}</div>`, [text]);
