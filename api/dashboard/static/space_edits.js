// An edit of a search space in words: "lr: high 1; optimizer: append lion; batch_size: freeze 64".

import { formatParam } from "./format.js";

const shown = (value) => (Array.isArray(value) ? value.map(formatParam).join(", ") : formatParam(value));

export function describeEdit(changes) {
  return Object.entries(changes)
    .map(([name, fields]) => {
      const parts = Object.entries(fields).map(([field, value]) => (field === "unfreeze" ? field : `${field} ${shown(value)}`));
      return `${name}: ${parts.join(", ")}`;
    })
    .join("; ");
}
