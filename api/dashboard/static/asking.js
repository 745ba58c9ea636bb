// A question to the server for as long as a view lives: asked again while nobody answers, and anew at every interval and occasion; the last good
// answer stays, whatever comes after it. Weakness: nothing is pushed, so an answer is as old as the interval; an occasion drops the answer that is
// under way.

import { useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { isOutage } from "./api.js";
import { isAway, Source, watchAway } from "./connection.js";

const RETRY_INTERVAL = 1_500;
const LONGEST_ANSWER = 60_000; // a comparison of many trials takes its time

// {question, answer, error, again, replace}: the last good answer and, where what was asked last came to nothing, why; `question` is the one that they are
// of. An error of another question than the answer's takes the answer's place. `read({known, signal})` asks, with the answer to the same question so
// far; `tells`: the header shows whether there are answers.
export function useAsked(read, { question = "", occasion = null, interval = null, tells = false, when = true } = {}) {
  const [found, set] = useState({ question: null, answer: null, error: null });
  const latest = useRef(null);
  latest.current = { read, known: found.question === question ? found.answer : null };
  const source = useRef(null);
  const again = useRef(() => {});
  useEffect(() => {
    if (!tells) return undefined;
    source.current = new Source();
    source.current.open();
    return () => source.current.close();
  }, [tells]);
  useEffect(() => {
    if (!when) return undefined;
    let gone = false;
    let timer = null;
    let turn = 0;
    let due = false; // it was time to ask while the page was away
    const ask = async () => {
      clearTimeout(timer);
      due = isAway() && latest.current.known !== null;
      if (due) return source.current?.set("paused");
      turn += 1;
      const mine = turn;
      const heed = (outage, made) => {
        if (gone || mine !== turn) return;
        source.current?.set(outage ? "reconnecting" : "live");
        set(made);
        const wait = outage ? RETRY_INTERVAL : interval;
        if (wait !== null) timer = setTimeout(ask, wait);
      };
      try {
        const answer = await latest.current.read({ known: latest.current.known, signal: AbortSignal.timeout(LONGEST_ANSWER) });
        heed(false, { question, answer, error: null });
      } catch (error) {
        heed(isOutage(error), (old) => ({ question, answer: old.question === question ? old.answer : null, error }));
      }
    };
    again.current = ask;
    const stop = watchAway(() => {
      if (isAway()) source.current?.set("paused");
      else if (due || interval !== null) ask();
    });
    ask();
    return () => {
      gone = true;
      clearTimeout(timer);
      stop();
    };
  }, [question, occasion, interval, when]);
  const replace = (answer) => {
    set((old) => ({ ...old, answer }));
    again.current(); // what is under way may be older
  };
  return { ...found, again: () => again.current(), replace };
}
