// Which trials of a study are ticked: kept by study for as long as the page is open, so that another tab or a look at one trial loses none.

import { useEffect, useState } from "./vendor/htm-preact.js";

const NONE = new Set();
const chosen = new Map(); // id of a study -> {numbers, last: the one ticked last}
const listeners = new Set();

const write = (study, numbers, last) => {
  chosen.set(study, { numbers, last });
  for (const redraw of listeners) redraw({});
};

// Of `numbers`, those from the one ticked last to this one, in the order in which they are shown; it alone where that one is not among them.
export function range(order, last, number) {
  const [from, to] = [order.indexOf(last), order.indexOf(number)];
  return from < 0 || to < 0 ? [number] : order.slice(Math.min(from, to), Math.max(from, to) + 1);
}

export function leaveOut(study, numbers) {
  const left = new Set(chosen.get(study)?.numbers);
  for (const number of numbers) left.delete(number);
  write(study, left);
}

// `order`: the numbers of the trials shown. `toggle(number, through)` ticks or unticks one, with `through` all from the last one on;
// `toggleAll` all that are shown.
export function useChosen(study, order) {
  const [, redraw] = useState(null);
  useEffect(() => {
    listeners.add(redraw);
    return () => listeners.delete(redraw);
  }, []);
  const { numbers, last } = chosen.get(study) ?? { numbers: NONE };
  const all = order.length > 0 && numbers.size >= order.length && order.every((number) => numbers.has(number));
  const set = (changed, on, at) => {
    const next = new Set(numbers);
    for (const number of changed) {
      if (on) next.add(number);
      else next.delete(number);
    }
    write(study, next, at);
  };
  return {
    numbers,
    all,
    has: (number) => numbers.has(number),
    toggle: (number, through) => set(through ? range(order, last, number) : [number], !numbers.has(number), number),
    toggleAll: () => set(order, !all),
    clear: () => write(study, NONE),
  };
}
