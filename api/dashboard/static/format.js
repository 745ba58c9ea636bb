// Text of numbers, times and parameters as the dashboard shows them: 4 significant digits, short durations, relative times.

const NON_FINITE = { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity };

// JSON has no NaN: the api sends these three as strings.
export function decodeNumber(value) {
  if (typeof value === "string") return value in NON_FINITE ? NON_FINITE[value] : NaN;
  return value ?? null;
}

// Whether a trial has a value: an infinite one is one, NaN is none.
export const isValue = (value) => value !== undefined && !Number.isNaN(value);

// Made once each: toLocaleString makes one for every number, which takes longer than all else in a row of the table.
const formats = new Map();

function grouped(value, digits) {
  if (!formats.has(digits)) formats.set(digits, new Intl.NumberFormat("en-US", digits ? { maximumSignificantDigits: digits } : {}));
  return formats.get(digits).format(value);
}

export function formatNumber(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return grouped(value, 0);
  if (size < 1e-3 || size >= 1e6) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
    return `${short}e${exponent.replace("+", "")}`;
  }
  return grouped(Number(value.toPrecision(digits)), digits);
}

// Of a study's best_repeats: "0.932 ± 0.004", without an interval for a single seed.
export function formatRepeated({ mean, low, high }) {
  const half = low === null ? "" : ` ± ${formatNumber((decodeNumber(high) - decodeNumber(low)) / 2, 2)}`;
  return `${formatNumber(decodeNumber(mean))}${half}`;
}

export function formatParam(value) {
  if (value === undefined) return "";
  if (value === null) return "null";
  if (typeof value === "number") return formatNumber(value);
  return String(value);
}

const SPELLINGS = [formatParam, String, (value) => JSON.stringify(value) ?? "absent"]; // the next for those that look the same in one

// Texts of the values of one parameter, undefined where it is absent, such that no two look the same: 4 digits where they tell them apart, else
// all of them, and texts in quotes where a number or the like is written the same.
export function formatChoices(values) {
  const level = values.map(() => 0);
  const spell = () => values.map((value, i) => (value === undefined ? "absent" : SPELLINGS[level[i]](value)));
  for (let round = 1; round < SPELLINGS.length; round += 1) {
    const counts = new Map();
    const texts = spell();
    for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
    texts.forEach((text, i) => {
      if (counts.get(text) > 1) level[i] = round;
    });
  }
  return spell();
}

export function formatCount(value) {
  return grouped(value, 0);
}

export function formatDuration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))}ms`;
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  if (seconds < 60) return `${Math.round(seconds)}s`;
  const total = Math.round(seconds);
  const [days, hours, minutes] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60];
  if (days) return `${days}d ${hours}h`;
  if (hours) return `${hours}h ${minutes}m`;
  return `${minutes}m ${total % 60}s`;
}

export function formatAgo(milliseconds, now = Date.now()) {
  const seconds = Math.max(0, (now - milliseconds) / 1000);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)}s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h ago`;
  if (seconds < 86400 * 30) return `${Math.floor(seconds / 86400)}d ago`;
  return new Date(milliseconds).toISOString().slice(0, 10);
}

export function formatBytes(bytes) {
  let value = bytes;
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (value < 1000) return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
}

// "lost" -> "lost", "paused_at_rung" -> "paused at rung"
export function formatReason(reason) {
  return reason ? reason.replaceAll("_", " ") : "";
}

// A word of a command line: quoted where a shell would take it apart.
export const shellWord = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

// An objective's name, and which way is better.
export const objectiveLabel = ({ name, direction }) => `${name} ${direction === "maximize" ? "↑" : "↓"}`;
