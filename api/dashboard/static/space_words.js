// A parameter of a search space in words: its range, and when it is there.

import { formatParam } from "./format.js";

// Not rounded, for where two ranges are held against each other.
export const exact = (value) => (typeof value === "number" ? String(value) : formatParam(value));

function whole(parameter, show) {
  if (parameter.type === "categorical") return (parameter.choices ?? []).map(show).join(", ");
  const parts = [`${show(parameter.low)} to ${show(parameter.high)}`];
  if (parameter.log) parts.push("log");
  if (parameter.step && !(parameter.type === "int" && parameter.step === 1)) parts.push(`step ${show(parameter.step)}`);
  return parts.join(", ");
}

export function describeRange(parameter, show = formatParam) {
  if ("freeze" in parameter) return `frozen at ${show(parameter.freeze)} (${whole(parameter, show)})`;
  return whole(parameter, show);
}

export function describeCondition(when, show = formatParam) {
  const SIGNS = { gt: ">", ge: "≥", lt: "<", le: "≤" };
  const compare = (bounds) =>
    Object.entries(bounds)
      .map(([sign, bound]) => `${SIGNS[sign] ?? sign} ${show(bound)}`)
      .join(" and ");
  return Object.entries(when)
    .map(([name, wanted]) => {
      if (Array.isArray(wanted)) return `${name} is ${wanted.map(show).join(" or ")}`;
      return `${name} ${wanted !== null && typeof wanted === "object" ? compare(wanted) : `is ${show(wanted)}`}`;
    })
    .join("; ");
}
