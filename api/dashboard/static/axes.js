// How a parameter lies on an axis of a chart: a number, on a logarithmic scale where its space says so, or one place a choice.

import { axis } from "./chart.js";
import { extent } from "./extent.js";
import { formatChoices, formatNumber } from "./format.js";

const CHOICE_WIDTH = 64; // pixels of a choice's name on an axis
const MAX_INTEGERS = 16; // so few in a range lie on the axis like choices

// {name, categorical, log, choices, whole, at(number)}: `at` gives a trial's place on the axis, undefined where it has none; `whole`: all are
// whole numbers.
export function dimension(feed, name) {
  const { trials, study } = feed;
  const space = study.spec.space?.[name];
  const column = trials.params[name] ?? [];
  const given = [];
  for (const number of trials.numbers()) if (column[number] !== undefined) given.push(column[number]);
  const categorical = space?.type === "categorical" || given.some((value) => typeof value !== "number");
  const log = !categorical && Boolean(space?.log) && given.every((value) => value > 0);
  if (!categorical) {
    const [low, high] = extent(given);
    const whole = given.every(Number.isInteger);
    const integers = !log && given.length > 0 && high - low < MAX_INTEGERS && whole;
    const choices = integers ? Array.from({ length: high - low + 1 }, (_, index) => low + index) : undefined;
    return { name, categorical: integers, log, choices, whole, count: given.length, at: (number) => (integers && column[number] !== undefined ? column[number] - low : column[number]) };
  }
  const choices = space?.choices ?? [...new Set(given)].sort();
  const place = new Map(choices.map((choice, index) => [choice, index]));
  return { name, categorical, log, choices, count: given.length, at: (number) => place.get(column[number]) };
}

export function dimensionAxis(palette, dim, rest = {}) {
  const label = { color: palette.muted, fontSize: 11, hideOverlap: true };
  if (dim.categorical) {
    const names = formatChoices(dim.choices);
    return axis(palette, {
      type: "value",
      min: -0.5,
      max: dim.choices.length - 0.5,
      interval: 1,
      splitLine: { show: false },
      axisLabel: {
        ...label,
        width: CHOICE_WIDTH,
        overflow: "truncate",
        customValues: dim.choices.map((_, index) => index),
        formatter: (index) => names[Math.round(index)],
      },
      ...rest,
    });
  }
  return axis(palette, {
    type: dim.log ? "log" : "value",
    scale: true,
    splitNumber: 4,
    splitLine: { show: false },
    axisLabel: { ...label, formatter: (value) => formatNumber(value) },
    ...rest,
  });
}
