// Which values of an objective are worth drawing: one that is absurdly far from the others (a diverged loss, a bug's 1e300) would press all of
// them into one line. Values cut off are counted in the captions, and the best one is only cut off where nothing else could be told apart.

import { remembered } from "../trials.js";

const MIN = 10; // values; of fewer nobody knows which are typical
const ABSURD = 1000; // times the spread of the others, which a chart of some hundred pixels shows as one line then

// {min, max} as an axis takes them, a side that holds all values left out; empty where no value lies far beyond the others.
// On the bad side it ends half a spread beyond the 90th percentile, or beyond a better one where more than a tenth is absurd.
export function typicalRange(values, maximize) {
  if (values.length < MIN) return {};
  const sorted = Float64Array.from(values, (value) => (maximize ? -value : value)).sort(); // losses, ascending
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
  const good = sorted[Math.ceil(0.1 * (sorted.length - 1))];
  const spread = at(0.5) - good;
  const bad = at(spread > 0 ? ([0.9, 0.75].find((share) => at(share) - good <= ABSURD * spread) ?? 0.5) : 0.9);
  const tooGood = bad > good && good - sorted[0] > ABSURD * (bad - good);
  const best = tooGood ? good : sorted[0];
  const bound = bad + 0.5 * (bad - best);
  const tooBad = bound > best && sorted.at(-1) - best > 1.5 * (bound - best);
  const [low, high] = [tooGood ? good - 0.5 * (bad - good) : undefined, tooBad ? bound : undefined];
  const [min, max] = maximize ? [high, low].map((loss) => (loss === undefined ? loss : -loss)) : [low, high];
  return { ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) };
}

export const isTypical = ({ min = -Infinity, max = Infinity }, value) => value >= min && value <= max;

// No label at an end that was made up here.
export const hiddenEnds = (range) => ({ ...("min" in range ? { showMinLabel: false } : {}), ...("max" in range ? { showMaxLabel: false } : {}) });

// "2 far worse values and 1 far better one", empty where all are within the range.
export function describeOutside(values, range, maximize) {
  const below = values.filter((value) => value < (range.min ?? -Infinity)).length;
  const above = values.filter((value) => value > (range.max ?? Infinity)).length;
  const [worse, better] = maximize ? [below, above] : [above, below];
  const say = (count, word) => (count ? `${count} far ${word} ${count === 1 ? "value" : "values"}` : "");
  return [say(worse, "worse"), say(better, "better")].filter(Boolean).join(" and ");
}

// {range, outside} of the values of an objective that charts have a place for, which several of them ask for at each change.
export const spread = (trials, objective) =>
  remembered(trials, `spread ${objective.direction} ${objective.name}`, () => {
    const maximize = objective.direction === "maximize";
    const values = trials.drawable(objective).map((number) => trials.value(objective.name, number));
    const range = typicalRange(values, maximize);
    return { range, outside: describeOutside(values, range, maximize) };
  });
