// Which learning curves to draw, along which axis, how smooth: pure functions of the trials and their reports.

import { extent } from "../extent.js";

const NUM_BEST = 20;
const NUM_RUNNING = 40;
const NUM_OTHERS = 40;
const LOSSES = /loss|error|rmse|mse|mae|nll|perplexity/i;

// Which trials to draw: {best, running, others}, each a list of numbers.
export function choose(trials, objective) {
  const best = trials.ranked(objective).slice(0, NUM_BEST);
  const running = trials.order({ states: ["RUNNING"], descending: true }).slice(0, NUM_RUNNING);
  const taken = new Set(best);
  const others = trials
    .order({ states: ["PRUNED", "COMPLETE"], descending: true })
    .filter((number) => !taken.has(number))
    .slice(0, NUM_OTHERS);
  return { best, running, others };
}

// Whether more of a metric is better: the objective says it, other names are guessed from.
export const isHigherBetter = (metric, objective) => (metric === objective.name ? objective.direction === "maximize" : !LOSSES.test(metric));

// Where to cut the axis so that the best curves fill it: a little beyond their worst point, if others lie far beyond that; else undefined.
export function worstOfBest(best, all, higherIsBetter) {
  if (!best.length) return undefined;
  const [low, high] = extent(best);
  const [least, most] = extent(all);
  const [bound, worst] = higherIsBetter ? [low - 0.15 * (high - low), least] : [high + 0.15 * (high - low), most];
  return high > low && Math.abs(worst - bound) > 0.5 * (high - low) && (higherIsBetter ? worst < bound : worst > bound) ? bound : undefined;
}

// Places of points [x, value] that no line leads to, because both their neighbours are gaps.
export function lonely(points) {
  const isGap = (point) => !Number.isFinite(point?.[1]);
  return new Set(points.flatMap((point, i) => (!isGap(point) && isGap(points[i - 1]) && isGap(points[i + 1]) ? [i] : [])));
}

// Exponential moving average of points [x, value], corrected for its start (as Adam's moments are); gaps stay gaps.
export function smooth(points, weight) {
  if (!weight) return points;
  let [average, share] = [0, 0];
  return points.map(([x, value]) => {
    if (!Number.isFinite(value)) return [x, value];
    average = weight * average + (1 - weight) * value;
    share = weight * share + (1 - weight);
    return [x, average / share];
  });
}

// Seconds at which each step was reported: since the trial's first start, or only those under a lease ("busy": pauses between attempts do not
// count; the first report of a later attempt is taken to have needed the median time between reports).
export function seconds(times, started, busy) {
  const found = new Map();
  const entries = [...times];
  if (!busy) {
    for (const [step, { at }] of entries) found.set(step, (at - started) / 1000);
    return found;
  }
  const gaps = entries.slice(1).flatMap(([, { at, epoch }], i) => (entries[i][1].epoch === epoch ? [at - entries[i][1].at] : []));
  const median = gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? 0;
  let total = 0;
  entries.forEach(([step, { at, epoch }], i) => {
    const before = entries[i - 1]?.[1];
    total += before ? (before.epoch === epoch ? at - before.at : median) : at - started;
    found.set(step, total / 1000);
  });
  return found;
}

// Points [x, value] of a trial's metric; `by` is "step", "wall" or "busy"; without a time a point is left out.
export function placed(feed, number, metric, by) {
  const points = feed.curves.points(number, metric).map(([step, value]) => [step, Number.isFinite(value) ? value : null]);
  if (by === "step") return points;
  const found = seconds(feed.curves.times(number), feed.trials.started[number], by === "busy");
  return points.map(([step, value]) => [found.get(step), value]).filter(([x]) => x >= 0);
}
