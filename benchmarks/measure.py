"""Times sides against each other: in turn, in rounds, so that whatever disturbs one disturbs all."""

import functools
import statistics
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

# Between two looks at the clock, at least.
BLOCK_SECONDS = 0.003
# A call that takes so long does so by itself.
LONG_SECONDS = 0.03
# Before a block, so that threads which a library leaves spinning for some milliseconds cost the next one no core.
PAUSE_SECONDS = 0.01

K = TypeVar("K")
T = TypeVar("T")
Clock = Callable[[Callable[[], object], int], float]


def seconds(call: Callable[[], object], number: int) -> float:
    """That so many calls take."""
    return timeit.timeit(call, number=number)


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

    def timer(self) -> timeit.Timer:
        return timeit.Timer(self.statement, globals=self.names)


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


def in_turn(blocks: Mapping[K, Callable[[], T]], rounds: int) -> dict[K, list[T]]:
    """What each block returned, round by round; every second round goes backwards."""
    found: dict[K, list[T]] = {key: [] for key in blocks}
    order = list(blocks)
    for _ in range(rounds):
        for key in order:
            time.sleep(PAUSE_SECONDS)
            found[key].append(blocks[key]())
        order.reverse()
    return found


def measure(sides: Sequence[Side], budget: Budget) -> dict[str, list[float]]:
    """Seconds per statement of each side by name, one for each round."""
    blocks, seconds_per_round = {}, 0.0
    for side in sides:
        timer = side.timer()
        once = timer.timeit(1)
        if once < LONG_SECONDS:  # unless a hiccup made it long
            once = min(timer.repeat(3, 1))
        if once < BLOCK_SECONDS:  # then one call is mostly the clock and cold caches
            tries = max(1, min(1000, int(BLOCK_SECONDS / 4 / once)))
            once = timer.timeit(tries) / tries
        count = max(1, round(BLOCK_SECONDS / once))
        blocks[side.name] = functools.partial(_seconds_per_call, timer, count)
        seconds_per_round += once * count + PAUSE_SECONDS
    rounds = max(budget.min_rounds, min(budget.max_rounds, int(budget.seconds / seconds_per_round)))
    return in_turn(blocks, rounds)


def _seconds_per_call(timer: timeit.Timer, count: int) -> float:
    if count > 1:
        timer.timeit(1)  # wakes its threads
    return timer.timeit(count) / count
