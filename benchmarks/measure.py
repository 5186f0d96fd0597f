"""Times sides against each other: in turn, in rounds, so that whatever disturbs one disturbs all."""

import statistics
import time
import timeit
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

# Between two looks at the clock, at least.
BLOCK_SECONDS = 0.003
# A call that takes so long does so by itself.
LONG_SECONDS = 0.03
# Before a block, so that threads which one library leaves spinning do not cost the next one a core.
PAUSE_SECONDS = 0.002


@dataclass(frozen=True)
class Side:
    """A statement to time and what its names mean; `result` is where its result is, if not its value."""

    name: str
    statement: str
    names: dict[str, Any]
    result: str = ""

    def run(self) -> Any:
        """Runs the statement once and returns its result."""
        if not self.result:
            return eval(self.statement, self.names)
        exec(self.statement, self.names)
        return eval(self.result, self.names)


@dataclass(frozen=True)
class Budget:
    """As many rounds as the seconds allow, within."""

    seconds: float
    min_rounds: int
    max_rounds: int


class Spread(NamedTuple):
    """A median between its quartiles."""

    low: float
    median: float
    high: float


def spread(numbers: Sequence[float]) -> Spread:
    if len(numbers) == 1:
        return Spread(*numbers, *numbers, *numbers)
    return Spread(*statistics.quantiles(numbers, n=4, method="inclusive"))


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Of the ratios within each round, so that what slows a whole round cancels."""
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)])


def difference(minuends: Sequence[float], subtrahends: Sequence[float]) -> Spread:
    """Of the differences within each round."""
    return spread([a - b for a, b in zip(minuends, subtrahends, strict=True)])


def measure(sides: Sequence[Side], budget: Budget) -> dict[str, list[float]]:
    """Seconds a statement of each side by name, one for each round."""
    timers = {side.name: timeit.Timer(side.statement, globals=side.names) for side in sides}
    counts, once = {}, {}
    for name, timer in timers.items():
        once[name] = timer.timeit(1)
        if once[name] < LONG_SECONDS:  # unless a hiccup made it long
            once[name] = min(timer.repeat(3, 1))
        if once[name] < BLOCK_SECONDS:  # then one call is mostly the clock and cold caches
            tries = max(1, min(1000, int(BLOCK_SECONDS / 4 / once[name])))
            once[name] = timer.timeit(tries) / tries
        counts[name] = max(1, round(BLOCK_SECONDS / once[name]))
    seconds_a_round = sum(once[name] * counts[name] + PAUSE_SECONDS for name in timers)
    fit = int(budget.seconds / seconds_a_round)
    rounds: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(max(budget.min_rounds, min(budget.max_rounds, fit))):
        for name, timer in timers.items():
            time.sleep(PAUSE_SECONDS)
            if counts[name] > 1:
                timer.timeit(1)  # wakes its threads
            rounds[name].append(timer.timeit(counts[name]) / counts[name])
        timers = dict(reversed(timers.items()))
    return rounds
