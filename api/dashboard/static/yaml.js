// Plain data as YAML in the form of our example files: mappings of scalars stand on one line, everything deeper is indented.

const PLAIN = /^[A-Za-z_][\w.\/-]*$/;
const WORDS = new Set(["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"]);

function scalar(value) {
  if (typeof value === "number") return Math.abs(value) < 1e-3 && value !== 0 ? value.toExponential() : String(value);
  if (typeof value !== "string") return JSON.stringify(value);
  return PLAIN.test(value) && !WORDS.has(value.toLowerCase()) ? value : JSON.stringify(value);
}

const isMapping = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isFlat = (value) => !isMapping(value) && (!Array.isArray(value) || value.every((item) => !Array.isArray(item) && !isMapping(item)));

function inline(value) {
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`;
  if (isMapping(value))
    return `{${Object.entries(value)
      .map(([key, item]) => `${scalar(key)}: ${inline(item)}`)
      .join(", ")}}`;
  return scalar(value);
}

// Whether a value is written on the line of its key: scalars, lists of them, and mappings of either.
const fits = (value, indent) => isFlat(value) || (isMapping(value) && Object.values(value).every(isFlat) && inline(value).length + 2 * indent < 110);

export function toYaml(data, indent = 0) {
  const pad = "  ".repeat(indent);
  return Object.entries(data)
    .map(([key, value]) => {
      if (Array.isArray(value) && value.some(isMapping)) return `${pad}${key}:\n${value.map((item) => `${pad}  - ${inline(item)}\n`).join("")}`;
      if (fits(value, indent)) return `${pad}${scalar(key)}: ${inline(value)}\n`;
      return `${pad}${scalar(key)}:\n${toYaml(value, indent + 1)}`;
    })
    .join("");
}
