"""What repeats on new seeds are worth: the true value of what a study reports, with and without `repeat`, in simulation.

A random search over normally distributed configurations, whose values are measured with normally distributed noise, by workers that take 0.5 to 1.5
units of time a training; every variant gets the same number of trainings. The rule is the service's own (`tuner.racing`), without its database.
`python -m benchmarks.racing` prints the table of docs/search.md. Weakness: a sampler that learns is not simulated; one that learns from noisy values
gains less from each.
"""

from __future__ import annotations

import heapq
import itertools

import numpy as np

from tuner.racing import Race, before_reserve, reserve
from tuner.wire import TrialState

NUM_STUDIES = 400
MAX_ATTEMPTS = 3


def report(seed: int, *, max_trials: int, num_workers: int, noise: float, most: int | None) -> float:
    """The true value of the configuration reported, the smaller the better; `most` None: the best of single trials."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=max_trials)
    if most is None:
        return float(true[np.argmin(true + noise * rng.normal(size=max_trials))])
    race, first_kept = Race(most), max_trials - reserve(most, max_trials)
    numbers = itertools.count()
    following = next(numbers)
    running: list[tuple[float, int, int]] = []  # when it ends, its number, the number of the first of its configuration
    now = 0.0
    while True:
        while following < max_trials and len(running) < num_workers:
            ending = following >= first_kept
            repeated = race.next_repeat(
                max_failures=MAX_ATTEMPTS,
                most_repeats=before_reserve(most, max_trials),
                ending=ending,
                left=max_trials - following if ending else None,
            )
            if repeated is None and ending and (race.is_pending or any(number < first_kept for number in race.under_way)):
                break
            race.take_in(following, TrialState.RUNNING, None, None, repeated)
            heapq.heappush(running, (now + rng.uniform(0.5, 1.5), following, following if repeated is None else repeated))
            following = next(numbers)
        if not running:
            break
        now, number, first = heapq.heappop(running)
        value = float(true[first] + noise * rng.normal())
        race.take_in(number, TrialState.COMPLETE, None, value, None if first == number else first)
    assert race.incumbent is not None
    return float(true[race.incumbent.number])


def main() -> None:
    print("| trials | workers | noise | single trials | max: 3 | max: 5 | max: 10 |\n|---|---|---|---|---|---|---|")
    for max_trials, num_workers, noise in itertools.product((60, 200), (1, 8), (0.1, 0.3, 1.0)):
        found = [
            np.mean(
                [
                    report(seed, max_trials=max_trials, num_workers=num_workers, noise=noise, most=most)
                    for seed in range(NUM_STUDIES)
                ]
            )
            for most in (None, 3, 5, 10)
        ]
        print(f"| {max_trials} | {num_workers} | {noise} | {' | '.join(f'{value:.2f}' for value in found)} |", flush=True)


if __name__ == "__main__":
    main()
