"""What is found out about a study's trials, as it travels: comparison of levels, importance of parameters, advice.

Bodies only, in the manner of `tuner.wire`; how they come about is in `tuner.comparison`, `tuner.search.importance` and `tuner.advice`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tuner.wire import Answer, Number, Scalar


class LevelTrials(Answer):
    """How many trials of a level there are. Those that have a result or failed are `counted`."""

    counted: int
    complete: int = 0
    pruned: int = 0
    paused: int = Field(default=0, description="wait at a rung and may go on")
    failed: int = 0
    cancelled: int = Field(default=0, description="by a person: not counted")
    running: int = 0
    waiting: int = 0


class Best(Answer):
    value: Number
    trial: int = Field(description="number of the trial")
    study: str = Field(description="name of its study")


class Estimate(Answer):
    """With a 95 % interval; without one where there are too few trials to say."""

    value: Number
    low: Number | None = None
    high: Number | None = None


class BestAfter(Answer):
    """Expected best value after k trials, as parallel lists."""

    k: list[int]
    expected: list[Number]
    low: list[Number | None]
    high: list[Number | None]
    reliable_up_to: int = Field(description="the largest k whose interval can be relied on: a quarter of the trials")
    seconds: list[float] = Field(default=[], description="of training that k of the level's counted trials take on average")
    gpu_seconds: list[float] = Field(default=[], description="the same of GPUs")


class BestSoFar(Answer):
    """The best value as the trials came, where it became better and after the last of them, as parallel lists."""

    trials: list[int] = Field(description="counted ones up to there, by number")
    seconds: list[float] = Field(description="of training, of those together")
    gpu_seconds: list[float]
    value: list[Number]


class RankEstimate(Answer):
    value: float = Field(description="1 for the best; equals share their mean")
    low: int
    high: int


class LevelResult(Answer):
    """One level; without a counted trial the estimates are null."""

    level: Scalar = Field(description="a choice, the ends of a range as text, or a study's name")
    trials: LevelTrials
    best: Best | None = None
    best_at_equal_budget: Number | None = Field(default=None, description="best of the first `budget` counted trials")
    best_at_equal_seconds: Number | None = Field(
        default=None, description="best of the trials that fit into the training time of the level that used least"
    )
    expected_best: Estimate | None = Field(default=None, description="after k trials")
    best_after: BestAfter | None = None
    best_so_far: BestSoFar | None = None
    rank: RankEstimate | None = Field(default=None, description="by expected_best, with a 95 % interval")
    sensitivity: float | None = Field(default=None, description="share of the trials within `within` of the best of all")
    seconds: float = Field(default=0.0, description="of training, of all trials together")
    gpu_seconds: float = 0.0


class PairResult(Answer):
    """Two levels held against each other."""

    levels: tuple[Scalar, Scalar]
    num_pairs: int | None = Field(default=None, description="matched trials; null where the test needs none")
    superiority: float = Field(description="how clearly trials of the first are better: 1 always, 0.5 neither, 0 never")
    p_value: float = Field(description="of the test")
    p_corrected: float = Field(description="by Holm, over all pairs of this comparison")
    difference: Estimate | None = Field(default=None, description="of expected_best, the first minus the second")
    better: Literal[0, 1] | None = Field(default=None, description="index of the better one where p_corrected is below 0.05")


class Comparison(Answer):
    """Levels of a parameter, or studies, held against each other."""

    by: str
    metric: str
    direction: Literal["minimize", "maximize"]
    budget: int = Field(description="counted trials that every level with any has")
    equal_budgets: bool = Field(description="the levels' counted trials differ by at most one")
    paired: bool = Field(description="trials were dealt out with the same seeds, and the test is for matched trials")
    k: int = Field(description="number of trials after which levels are held against each other")
    within: Number = Field(description="distance from the best of all, for the sensitivity")
    levels: list[LevelResult] = Field(description="in the order of their expected best value")
    pairs: list[PairResult]
    test: str
    conclusion: str
    notes: list[str] = Field(description="how the figures came about, and what they do not say")


class Importance(Answer):
    method: str
    importance: dict[str, float]


class Likely(Answer):
    """Where a parameter lies among the trials that cannot be told from the best."""

    low: Number | None = Field(default=None, description="of numbers")
    high: Number | None = None
    choices: list[Scalar] | None = Field(default=None, description="of a categorical parameter, the most frequent first")


class BestConfiguration(Answer):
    trial: int
    value: Number
    params: dict[str, Scalar]
    within: Number = Field(description="trials this close to the best value are taken for as good")
    num_as_good: int
    likely: dict[str, Likely] = Field(description="by parameter: where those trials lie")
    repeated: Estimate | None = Field(
        default=None, description="mean over the trials with exactly these parameters, where there are several"
    )
    num_repeats: int = 1
    sentence: str = Field(description="how sure the best configuration is")


class Advice(Answer):
    """One thing to try next."""

    kind: Literal["widen", "narrow", "freeze", "drop", "failures", "stop", "continue", "repeat"]
    parameter: str | None = None
    sentence: str = Field(description="what to do, and the evidence for it")
    evidence: dict[str, Any] = {}
    change: dict[str, Any] | None = Field(default=None, description="the parameter as it would be in the next study's space")


class AdviceList(Answer):
    best: BestConfiguration | None = Field(default=None, description="of a study with one objective, once a trial has a value")
    items: list[Advice] = Field(description="what to try next, the most pressing first; empty where the data say nothing")
