// The filter language over the columns that the page has, so that an answer takes milliseconds and costs the server nothing. `passing` gives the
// numbers that pass, or null where the columns do not say it all: facts that only the server has, patterns on numbers, and whatever cannot be
// read, which the server puts into words. The language is described, and decided in doubt, by `tuner/filters.py`; a test holds both together.

import { STATES } from "./trials.js";

const PLAIN = String.raw`[^\s:=!<>",]+`;
const QUOTED = String.raw`"(?:[^"\\]|\\.)*"`;
const NAME = String.raw`(?:${QUOTED}|${PLAIN})`;
const VALUE = String.raw`(?:${QUOTED}|[^\s",]+)`;
const TERM = new RegExp(String.raw`\s*(${NAME})(!=|<=|>=|=|:|<|>)(${VALUE}(?:,${VALUE})*)(?=\s|$)`, "y");
const VALUES = new RegExp(VALUE, "g");
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const INFINITE = { inf: Infinity, infinity: Infinity, "+inf": Infinity, "-inf": -Infinity, "+infinity": Infinity, "-infinity": -Infinity };
const COMPARISONS = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b };
const MAX_TERMS = 30;
const HERE = ["state", "reason", "number", "value", "feasible"];
const ELSEWHERE = ["origin", "worker", "attempt", "parent", "duration"];

// Names of what a trial has beside objectives and parameters.
export const FACTS = [...HERE, ...ELSEWHERE];

// Whether a name needs no quotes.
export const isPlainName = (name) => new RegExp(`^${PLAIN}$`).test(name);

const plain = (text) => (text.startsWith('"') ? text.slice(1, -1).replace(/\\(.)/gs, "$1") : text);

function readNumber(text) {
  const digits = text.replace(/(?<=\d)_(?=\d)/g, "");
  return NUMBER.test(digits) ? Number(digits) : INFINITE[text.toLowerCase()];
}

// What a name stands for: {column, kind}; null where this is not the place to say it.
function resolve(name, { trials, study, objectives }) {
  if (ELSEWHERE.includes(name)) return null;
  if (HERE.includes(name)) return { kind: name };
  const space = study.spec.space;
  const names = objectives.map((objective) => objective.name);
  const known = (parameter) => !space || parameter in space;
  const value = (objective) => ({ kind: "cell", column: trials.values[objective] ?? [] });
  const param = (parameter) => ({ kind: "cell", column: trials.params[parameter] ?? [] });
  const dot = name.indexOf(".");
  const [kind, rest] = [name.slice(0, dot), name.slice(dot + 1)];
  if (dot >= 0 && kind === "values" && names.includes(rest)) return value(rest);
  if (dot >= 0 && kind === "params" && known(rest)) return param(rest);
  if (names.includes(name)) return value(name);
  if (known(name)) return param(name);
  const short = Object.keys(space).filter((parameter) => parameter.slice(parameter.lastIndexOf(".") + 1) === name || parameter === `${name}.name`);
  return short.length === 1 ? param(short[0]) : null;
}

function pattern(value) {
  if (!value.includes("*")) return (text) => text === value;
  const parts = value.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const whole = new RegExp(`^${parts.join(".*")}$`, "s");
  return (text) => whole.test(text);
}

const textOf = (cell) => (typeof cell !== "number" ? String(cell) : Number.isNaN(cell) ? "NaN" : Number.isFinite(cell) ? null : cell > 0 ? "Infinity" : "-Infinity");

function numberOf(cell) {
  if (typeof cell === "number") return Number.isNaN(cell) ? undefined : cell;
  return cell === "Infinity" ? Infinity : cell === "-Infinity" ? -Infinity : undefined;
}

// A test (cell) -> boolean for `=` with several values; null where it would have to know how the database writes a number.
function equality(values, column) {
  const tests = [];
  for (const value of values) {
    if (value.includes("*") && column.some((cell) => typeof cell === "number" && Number.isFinite(cell))) return null;
    const matches = pattern(value);
    const number = readNumber(value);
    const finite = Number.isFinite(number);
    tests.push((cell) => {
      if (cell === undefined || cell === null) return value === "null";
      const text = textOf(cell);
      return (text !== null && matches(text)) || (finite && numberOf(cell) === number);
    });
  }
  return (cell) => tests.some((test) => test(cell));
}

// A test (number of a trial) -> boolean, or null.
function readTerm(name, operator, text, feed) {
  const { trials, objectives } = feed;
  const found = resolve(name, feed);
  if (!found) return null;
  const values = text.match(VALUES).map(plain);
  const numeric = ["number", "value"].includes(found.kind);
  const first = trials.values[objectives[0]?.name] ?? [];
  const cell =
    found.kind === "cell"
      ? (number) => found.column[number]
      : {
          number: (number) => number,
          value: (number) => (trials.states[number] === "COMPLETE" && !trials.isInfeasible(number) ? first[number] : undefined),
          state: (number) => trials.states[number],
          reason: (number) => trials.reasons[number],
          feasible: (number) => trials.feasible[number]?.toString(),
        }[found.kind];
  if (found.kind === "value" && first.some(Number.isNaN)) return null; // the database has an order for NaN
  if (operator in COMPARISONS) {
    const bound = values.length === 1 ? readNumber(values[0]) : undefined;
    if (bound === undefined || !(numeric || found.kind === "cell")) return null;
    const compare = COMPARISONS[operator];
    return (number) => {
      const value = numberOf(cell(number));
      return value !== undefined && compare(value, bound);
    };
  }
  let test;
  if (numeric) {
    const wanted = values.map(readNumber);
    if (wanted.includes(undefined)) return null;
    test = (value) => value !== undefined && wanted.includes(value);
  } else if (found.kind === "cell") test = equality(values, found.column);
  else {
    const texts = found.kind === "state" ? values.map((value) => value.toUpperCase()) : values;
    if (found.kind === "state" && texts.some((value) => !STATES.includes(value) && !value.includes("*"))) return null;
    if (found.kind === "feasible" && texts.some((value) => value !== "true" && value !== "false")) return null;
    const tests = texts.map(pattern);
    test = (value) => value !== undefined && tests.some((matches) => matches(value));
  }
  if (!test) return null;
  return operator === "!=" ? (number) => !test(cell(number)) : (number) => test(cell(number));
}

// Tests (number of a trial) -> boolean, one a term, or null: ask the server.
export function read(text, feed) {
  const terms = [];
  let at = 0;
  while (text.slice(at).trim()) {
    TERM.lastIndex = at;
    const match = TERM.exec(text);
    if (!match || terms.length === MAX_TERMS) return null;
    const term = readTerm(plain(match[1]), match[2], match[3], feed);
    if (!term) return null;
    terms.push(term);
    at = TERM.lastIndex;
  }
  return terms;
}

// Ascending numbers of the trials that pass `text`, or null: ask the server.
export function passing(text, feed) {
  const terms = read(text, feed);
  if (!terms) return null;
  const found = [];
  for (const number of feed.trials.numbers()) if (terms.every((holds) => holds(number))) found.push(number);
  return found;
}
