// A study's trials in memory, column by column: arrays indexed by trial number. Merging is idempotent, so rows may come twice.
// Times are milliseconds, absent cells undefined. Admitted weakness: one array cell per trial and column, about 20 MB at 100,000 trials.

import { decodeNumber, isValue } from "./format.js";

export const STATES = ["RUNNING", "WAITING", "COMPLETE", "PRUNED", "FAIL"];
// Columns hold seconds since 1970, trials ISO texts.
const time = (given) => (typeof given === "number" ? given * 1000 : given ? Date.parse(given) : undefined);
const cell = (value) => (value === null ? undefined : value);

// `numbers` in the order of one key; absent, null and NaN cells come last in both directions, as the server has them, ties stay as they were.
function sorted(trials, numbers, { key, descending = false }, cells) {
  const read = trials.reader(key, cells);
  const present = [];
  const values = [];
  const absent = [];
  let mixed = false;
  for (const number of numbers) {
    const value = read(number);
    if (value === undefined || value === null || Number.isNaN(value)) absent.push(number);
    else {
      present.push(number);
      values.push(value);
      mixed ||= typeof value !== "number";
    }
  }
  return (mixed ? byText(present, values, descending) : byNumber(present, values, descending)).concat(absent);
}

function byText(numbers, values, descending) {
  const sign = descending ? -1 : 1;
  // A text's place among the few that there are is found once, and then only places are compared.
  const levels = [...new Set(values)].sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
  const places = new Map(levels.map((level, place) => [level, place]));
  return byNumber(
    numbers,
    values.map((value) => sign * places.get(value)),
    false,
  );
}

// Values are sorted by themselves, which typed arrays do fast, and each number is put to where its value stands: ten times as fast as comparing pairs.
function byNumber(numbers, values, descending) {
  const keys = Float64Array.from(values, descending ? (value) => 0 - value : (value) => value + 0); // no -0, which sorts before 0
  const order = keys.slice().sort();
  const used = new Uint32Array(order.length);
  const found = new Array(order.length);
  for (let i = 0; i < keys.length; i += 1) {
    const key = keys[i];
    let [low, high] = [0, order.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order[middle] < key) low = middle + 1;
      else high = middle;
    }
    found[low + used[low]] = numbers[i];
    used[low] += 1;
  }
  return found;
}

// What was worked out of trials as they are, by what was asked: forgotten with the next change.
const known = new WeakMap();

export function remembered(trials, question, answer) {
  if (!known.has(trials)) known.set(trials, new Map());
  const answers = known.get(trials);
  if (!answers.has(question)) answers.set(question, answer());
  return answers.get(question);
}

export class Trials {
  constructor() {
    this.length = 0; // one above the highest number seen
    this.ids = [];
    this.states = [];
    this.reasons = [];
    this.feasible = []; // undefined where there are no outcome constraints, or nobody has judged
    this.started = [];
    this.finished = [];
    this.values = {}; // objective -> array of numbers
    this.params = {}; // parameter -> array; null is a choice, undefined where it is absent
    this.all = this; // what a selection of them was made of
  }

  mergeColumns(columns) {
    columns.numbers.forEach((number, i) => {
      this.#place(number, columns.ids[i], columns.state[i], columns.reason[i], columns.started_at[i], columns.finished_at[i]);
      this.feasible[number] = cell(columns.feasible[i]);
    });
    for (const [name, column] of Object.entries(columns.values)) {
      const target = (this.values[name] ??= []);
      columns.numbers.forEach((number, i) => {
        target[number] = cell(decodeNumber(column[i]));
      });
    }
    for (const [name, column] of Object.entries(columns.params)) {
      const target = (this.params[name] ??= []);
      columns.numbers.forEach((number, i) => {
        target[number] = cell(column[i]);
      });
      // The choice null, where the parameter is not just absent. A replica of an older version does not tell them apart.
      for (const number of columns.nulls?.[name] ?? []) target[number] = null;
    }
  }

  mergeTrial(trial) {
    this.#place(trial.number, trial.id, trial.state, trial.reason, trial.started_at, trial.finished_at);
    this.feasible[trial.number] = cell(trial.feasible);
    for (const [name, value] of Object.entries(trial.values ?? {})) (this.values[name] ??= [])[trial.number] = cell(decodeNumber(value));
    for (const [name, value] of Object.entries(trial.params)) (this.params[name] ??= [])[trial.number] = value;
  }

  #place(number, id, state, reason, started, finished) {
    known.delete(this);
    this.length = Math.max(this.length, number + 1);
    this.ids[number] = id;
    this.states[number] = state;
    this.reasons[number] = reason ?? undefined;
    this.started[number] = time(started);
    this.finished[number] = time(finished);
  }

  *numbers() {
    for (let number = 0; number < this.length; number += 1) if (this.states[number] !== undefined) yield number;
  }

  counts() {
    return remembered(this, "counts", () => {
      const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
      for (const number of this.numbers()) counts[this.states[number]] += 1;
      return counts;
    });
  }

  value(name, number) {
    return this.values[name]?.[number];
  }

  isInfeasible(number) {
    return this.feasible[number] === false;
  }

  duration(number, now = Date.now()) {
    const started = this.started[number];
    if (started === undefined) return undefined;
    return Math.max(0, ((this.finished[number] ?? now) - started) / 1000);
  }

  // What a table sorts by, as a function of a trial's number: "number", "state", "duration", "finished", "value:NAME" or "param:NAME".
  // Other keys are those of `cells`, arrays by number.
  reader(key, cells = {}) {
    if (key in cells) return (number) => cells[key][number];
    if (key === "number") return (number) => number;
    if (key === "state") return (number) => STATES.indexOf(this.states[number]);
    if (key === "duration") {
      const now = Date.now();
      return (number) => this.duration(number, now);
    }
    if (key === "finished") return (number) => this.finished[number];
    const name = key.slice(key.indexOf(":") + 1);
    const column = (key.startsWith("value:") ? this.values : this.params)[name] ?? [];
    return (number) => column[number];
  }

  // Numbers of the trials in one of `states` (all when empty), sorted; absent and NaN cells come last in both directions.
  // `sorts` are several keys, of which the first counts most, in place of one.
  order({ states = [], key = "number", descending = false, sorts = [{ key, descending }], cells = {} } = {}) {
    if (sorts.length > 1) {
      // Sorting is stable: by the least key first, so that each further one keeps the order within its ties.
      return sorts.reduceRight((numbers, sort) => sorted(this, numbers, sort, cells), this.order({ states }));
    }
    const numbers = [];
    for (const number of this.numbers()) if (!states.length || states.includes(this.states[number])) numbers.push(number);
    return sorted(this, numbers, sorts[0] ?? { key: "number" }, cells);
  }

  // Complete trials with a value, best first; an infinite one counts, as it does for the server. Without those that break an outcome constraint.
  // The same array for all who ask: not to be changed.
  ranked(objective) {
    return remembered(this, `ranked ${objective.direction} ${objective.name}`, () =>
      this.order({ states: ["COMPLETE"], key: `value:${objective.name}`, descending: objective.direction === "maximize" }).filter(
        (number) => isValue(this.value(objective.name, number)) && !this.isInfeasible(number),
      ),
    );
  }

  // Of the ranked ones those that a chart has a place for.
  drawable(objective) {
    return remembered(this, `drawable ${objective.direction} ${objective.name}`, () =>
      this.ranked(objective).filter((number) => Number.isFinite(this.value(objective.name, number))),
    );
  }

  // Of all trials' values of a parameter: whether they are numbers, whole ones, and their extent (Infinity and -Infinity without any).
  column(name) {
    return remembered(this.all, `column ${name}`, () => {
      const facts = { numeric: true, whole: true, low: Infinity, high: -Infinity };
      for (const value of this.params[name]) {
        if (value === undefined) continue;
        facts.numeric &&= typeof value === "number";
        facts.whole &&= Number.isInteger(value);
        if (value < facts.low) facts.low = value;
        if (value > facts.high) facts.high = value;
      }
      return facts;
    });
  }

  paramNames() {
    return Object.keys(this.params);
  }
}

// Reports of some of a study's trials: number -> step -> {metric: value}. A step reported again (after a takeover) replaces the old one.
export class Curves {
  #steps = new Map();
  #times = new Map(); // number -> step -> {at: milliseconds, epoch}
  #fetched = new Map(); // number -> whether all its reports were asked for, or some of them would do
  #thinned = new Set();
  #points = new Map(); // number -> metric -> points, until it has further reports
  #metrics = null;

  merge(items) {
    for (const { trial, reports } of items) {
      this.#points.delete(trial);
      if (!this.#steps.has(trial)) this.#steps.set(trial, new Map());
      if (!this.#times.has(trial)) this.#times.set(trial, new Map());
      const steps = this.#steps.get(trial);
      for (const report of reports) {
        if (report.at) this.#times.get(trial).set(report.step, { at: report.at * 1000, epoch: report.epoch });
        const values = {};
        for (const [name, value] of Object.entries(report.values)) {
          values[name] = decodeNumber(value);
          this.#metrics?.add(name);
        }
        steps.set(report.step, { ...steps.get(report.step), ...values });
      }
    }
  }

  // Of `numbers`, those whose reports before this page was opened have not been asked for; `whole`: not all of them.
  unfetched(numbers, whole = false) {
    return numbers.filter((number) => !this.#fetched.has(number) || (whole && this.#thinned.has(number) && !this.#fetched.get(number)));
  }

  markFetched(numbers, whole = false) {
    for (const number of numbers) this.#fetched.set(number, whole);
  }

  forgetFetched(numbers = [...this.#fetched.keys()]) {
    for (const number of numbers) this.#fetched.delete(number);
  }

  // What the server's answer says about the curves in it.
  markThinned(items) {
    for (const { trial, thinned } of items) {
      if (thinned) this.#thinned.add(trial);
      else this.#thinned.delete(trial);
    }
  }

  // Whether some of its reports are not here.
  isThinned(number) {
    return this.#thinned.has(number);
  }

  // Forgets everything but `numbers`, so that a page left open for days stays small.
  keep(numbers) {
    const wanted = new Set(numbers);
    for (const number of this.#steps.keys()) {
      if (wanted.has(number)) continue;
      this.#steps.delete(number);
      this.#times.delete(number);
      this.#fetched.delete(number);
      this.#thinned.delete(number);
      this.#points.delete(number);
    }
    this.#metrics = null;
  }

  get size() {
    return this.#steps.size;
  }

  metrics() {
    if (!this.#metrics) {
      this.#metrics = new Set();
      for (const steps of this.#steps.values()) for (const values of steps.values()) for (const name in values) this.#metrics.add(name);
    }
    return [...this.#metrics].sort();
  }

  // [[step, value], ...] by step; the same array for all who ask: not to be changed.
  points(number, metric) {
    const steps = this.#steps.get(number);
    if (!steps) return [];
    if (!this.#points.has(number)) this.#points.set(number, new Map());
    const known = this.#points.get(number);
    if (!known.has(metric)) {
      const found = [...steps].filter(([, values]) => metric in values).map(([step, values]) => [step, values[metric]]);
      known.set(metric, found.sort((a, b) => a[0] - b[0]));
    }
    return known.get(metric);
  }

  // When each step was reported: step -> {at, epoch of the lease}, in the order of steps.
  times(number) {
    return new Map([...(this.#times.get(number) ?? [])].sort((a, b) => a[0] - b[0]));
  }

  last(number, metric) {
    return this.points(number, metric).at(-1);
  }
}
