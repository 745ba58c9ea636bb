// When to ask the server anew for what it works out of all trials of a study: as soon as there are enough of them, and now and then while more
// end. Weakness: the last question may come a whole interval after the last trial.

import { useEffect, useRef, useState } from "./vendor/htm-preact.js";

export const MIN_TRIALS = 10; // of fewer nothing can be said
const UNTIL_THEN = 500; // milliseconds
const INTERVAL = 15_000;
const PER_TRIAL = 2; // a question about many trials takes longer, and their answer changes less

// How many trials had ended when it was last time to ask; `ended` is how many have by now.
export function useOccasions(ended) {
  const [asked, ask] = useState(ended);
  const at = useRef(performance.now());
  useEffect(() => {
    if (ended === asked) return undefined;
    const interval = asked < MIN_TRIALS ? UNTIL_THEN : Math.max(INTERVAL, PER_TRIAL * ended);
    // Counted from the last question: trials that end more often than that put nothing off.
    const wait = Math.max(0, at.current + interval - performance.now());
    const timer = setTimeout(() => {
      at.current = performance.now();
      ask(ended);
    }, wait);
    return () => clearTimeout(timer);
  }, [ended, asked]);
  return asked;
}
