// What is dragged over in a chart as terms of the filter language, in place of those that bounded the same name before. Choices are written
// exactly; the bounds of a range are rounded outward, so that all that was dragged over passes. Admitted weakness: a bound that somebody
// typed under another name for the same (`params.lr` for `lr`) stays beside the new one.

import { FACTS, isPlainName } from "./filter_terms.js";

const DIGITS = 3; // of a range's width, beyond which nobody can aim
const MIN_DIGITS = 4; // of a bound itself: the small end of a logarithmic axis is a tiny part of the width

const quoted = (text) => `"${text.replace(/(["\\])/g, "\\$1")}"`;

const valueText = (value) => {
  const text = String(value);
  return /[\s,"*]/.test(text) || text === "" ? quoted(text) : text;
};

// The name of a parameter or an objective as the filter language reads it: with its kind where a fact or an objective has the same.
export function termName(name, kind, { objectives }) {
  const isTaken = FACTS.includes(name) || /^(params|values)\./.test(name) || (kind === "params" && objectives.some((objective) => objective.name === name));
  const full = isTaken ? `${kind}.${name}` : name;
  return isPlainName(full) ? full : quoted(full);
}

// Terms of a text, apart at its blanks.
const apart = (text) => text.match(/(?:"(?:[^"\\]|\\.)*"|\S)+/g) ?? [];

// `value` at the last digit that matters of it in a range so wide, away from the range's middle; itself where that cannot be written.
function outward(value, width, isHigh) {
  if (!value || !(width > 0)) return value;
  const size = (number) => Math.floor(Math.log10(Math.abs(number)));
  const last = Math.min(size(width) + 1 - DIGITS, size(value) + 1 - MIN_DIGITS);
  const scaled = last < 0 ? value * 10 ** -last : value / 10 ** last;
  const at = (count) => Number(`${count}e${last}`);
  const covers = (count) => (isHigh ? at(count) >= value : at(count) <= value);
  // Scaling may miss a whole number by a little: the nearest one first.
  const count = [Math.round(scaled), isHigh ? Math.ceil(scaled) : Math.floor(scaled)].find(covers);
  return Number.isSafeInteger(count) && Number.isFinite(at(count)) ? at(count) : value;
}

// The filter with the terms that bound a name (as `termName` writes it) replaced by a range, of which one end may be null.
function withRange(text, name, bounds) {
  const others = apart(text).filter((old) => !old.startsWith(`${name}>=`) && !old.startsWith(`${name}<=`));
  return [...others, ...bounds.flatMap((bound, i) => (bound === null ? [] : [`${name}${[">=", "<="][i]}${valueText(bound)}`]))].join(" ");
}

function withValues(text, name, values) {
  const others = apart(text).filter((old) => !old.startsWith(`${name}=`));
  return [...others, `${name}=${values.map(valueText).join(",")}`].join(" ");
}

// The filter once [low, high] of an axis {choices, whole, min, max} was dragged over. Along `choices` these are places, and choices that are `whole`
// numbers make a range; a bound at `min` or `max`, where the axis has them, is left open. The same text where nothing was met.
export function selected(text, name, { choices, whole, min, max }, [low, high]) {
  if (choices) {
    const chosen = choices.filter((_, place) => place >= Math.ceil(low - 0.5) && place <= Math.floor(high + 0.5));
    if (!chosen.length) return text;
    return whole ? withRange(text, name, [chosen[0], chosen.at(-1)]) : withValues(text, name, chosen);
  }
  const [from, to] = whole ? [Math.ceil(low), Math.floor(high)] : [outward(low, high - low, false), outward(high, high - low, true)];
  if (from > to) return text;
  const room = 1e-9 * Math.max(Math.abs(min ?? 0), Math.abs(max ?? 0));
  return withRange(text, name, [low <= min + room ? null : from, high >= max - room ? null : to]);
}
