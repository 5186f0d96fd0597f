"""Tables of a run for the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import rich.markup
import rich.table

from benchmarks import fused, native, peers, small, targets
from benchmarks.measure import Spread, ratio, spread
from benchmarks.targets import count

# Which of ours a side is compared with: what does the same work, from the same memory to the same.
RIVALS = {
    peers.TORCH: peers.OURS_TORCH,
    peers.ONNXRUNTIME: peers.OURS,
    peers.WHERE: peers.OURS,
    peers.MAXIMUM: peers.OURS,
    native.PLAIN_LOOP: native.OURS_C,
    native.MEMCPY: native.OURS_C,
    native.STREAM: native.OURS_C,
}

Document = dict[str, Any]


@dataclass
class Table:
    """Headings, rows of text, and a line below; the first column is text, the others are numbers."""

    title: str
    headings: list[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""

    def rich(self) -> rich.table.Table:
        table = rich.table.Table(title=self.title, caption=self.note or None)
        for i, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*map(rich.markup.escape, row))
        return table


def duration(seconds: float) -> str:
    for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {name}" if seconds * factor < 1000 else f"{seconds * factor:.0f} {name}"
    return f"{seconds * 1e9:.0f} ns"


def with_quartiles(found: Spread) -> str:
    return f"{found.median:.2f} ({found.low:.2f} … {found.high:.2f})"


def tables(document: Document) -> list[Table]:
    """All of them, the wanted figures first."""
    found = [
        wanted_figures(document),
        small_calls(document),
        *times(document),
        *fused_operation(document),
        *busy_machine(document),
        kept_when_compiled(document),
        training_steps(document),
    ]
    return [table for table in found if table.rows]


def wanted_figures(document: Document) -> Table:
    table = Table("Wanted figures", ["", "threads", "found (quartiles)", "wanted", ""])
    for row in targets.rows(document):
        found = "-" if row.found is None else with_quartiles(row.found) + row.unit
        relation = "at most" if row.at_most else "at least"
        verdict = "met" if row.is_met else "missed" if row.found else "not measured"
        what = f"{row.what} [{row.note}]" if row.note else row.what
        table.rows.append([what, str(row.threads or "-"), found, f"{relation} {row.wanted:g}{row.unit}", verdict])
    table.note = "Ratios are the other side's time over ours, within each round; medians and quartiles of the rounds."
    return table


def small_calls(document: Document) -> Table:
    table = Table("Small calls on NumPy arrays, float32, one thread: µs per call", ["", *map(count, small.STATEMENTS)])
    table.note = "Medians (quartiles)."
    for statement in dict.fromkeys(statement for times in document["small"].values() for statement in times):
        rounds = [times.get(statement) for times in document["small"].values()]
        cells = [with_quartiles(spread([1e6 * each for each in times])) if times else "" for times in rounds]
        table.rows.append([statement, *cells])
    return table


def times(document: Document) -> Iterator[Table]:
    """For each group of cases, times and what they are over ours."""
    for title, group in groups(document):
        table = Table(title, ["", *map(_column, group)])
        table.note = "Medians; in brackets the time over that of ours after the stroke: above 1 ours is faster."
        for side in dict.fromkeys(side for result in group for side in result["sides"]):
            rival = RIVALS.get(side)
            cells = []
            for result in group:
                rounds, ours = (result["sides"].get(name) for name in (side, rival))
                over = f" ({ratio(rounds, ours).median:.2f})" if rounds and ours else ""
                cells.append(duration(spread(rounds).median) + over if rounds else "")
            table.rows.append([f"{side} / {rival}" if rival else side, *cells])
        yield table


def fused_operation(document: Document) -> Iterator[Table]:
    """For each operation times, and what autograd keeps."""
    shape = f"n x {fused.CHANNELS} x {fused.PIXELS} x {fused.PIXELS}"
    for operation in fused.OPERATIONS:
        runs = [run for run in document["fused"] if run["operation"] == operation]
        headings = ["elements", "dtype", "layout", "clamp", *fused.SIDES, "bytes kept per element"]
        table = Table(f"Bias, LeakyReLU, scale and clamp, {shape}, {operation}", headings)
        table.note = f"Medians; in brackets the time over that of {fused.OURS}. Bytes kept in the order of the columns."
        for run in runs:
            rounds = [run["sides"].get(side) for side in fused.SIDES]
            ours = rounds[0]
            cells = [
                f"{duration(spread(each).median)} ({ratio(each, ours).median:.2f})" if each else "" for each in rounds
            ]
            kept = " / ".join(f"{each:.3g}" for each in run["kept"].values())
            clamp = "-" if run["clamp"] is None else f"{run['clamp']:g}"
            table.rows.append([count(run["elements"]), run["dtype"], run["layout"], clamp, *cells, kept])
        yield table


def kept_when_compiled(document: Document) -> Table:
    table = Table("What autograd keeps under torch.compile", ["model", peers.TORCH, peers.OURS_TORCH, "ratio"])
    for run in document["compiled"]:
        theirs, ours = (run[side] for side in (peers.TORCH, peers.OURS_TORCH))
        cells = [f"{kept / 2**20:.2f} MiB" for kept in (theirs, ours)]
        table.rows.append([run["model"], *cells, f"{ours / theirs:.2f}"])
    return table


def training_steps(document: Document) -> Table:
    table = Table("Training steps, with Adam", ["model", "input", "threads", "", "torch", "leakyrelu.torch", "ratio"])
    table.note = "Time: torch over ours. Peak: ours over torch, memory of the process above that before the step."
    for run in document["training"]:
        theirs, ours = (run["seconds"][side] for side in (peers.TORCH, peers.OURS_TORCH))
        model = run["model"] + ", compiled" * run["compiled"]
        head = [model, run["input"], str(run["threads"])]
        cells = [duration(spread(rounds).median) for rounds in (theirs, ours)]
        table.rows.append([*head, "time", *cells, with_quartiles(ratio(theirs, ours))])
        peaks = [run["peak"][side] for side in (peers.TORCH, peers.OURS_TORCH)]
        cells = [f"{peak / 2**20:.0f} MiB" for peak in peaks]
        table.rows.append([*head, "peak memory", *cells, f"{peaks[1] / peaks[0]:.2f}"])
    return table


def busy_machine(document: Document) -> Iterator[Table]:
    """For each situation the mean times by side and size."""
    for situation in dict.fromkeys(run["situation"] for run in document["busy"]):
        runs = [run for run in document["busy"] if run["situation"] == situation]
        table = Table(f"Mean time of a call, float32, {situation}", ["", "threads", *map(_column, runs)])
        table.note = "In brackets: over one thread's. One run, in turn."
        for side in dict.fromkeys(side for run in runs for side in run["means"]):
            for threads in dict.fromkeys(threads for run in runs for threads in run["means"].get(side, {})):
                cells = []
                for run in runs:
                    means = run["means"].get(side, {})
                    over = f" ({means[threads] / means[1]:.2f})" if threads in means and 1 in means else ""
                    cells.append(f"{duration(means[threads])}{over}" if threads in means else "")
                table.rows.append([side, str(threads), *cells])
        yield table


def groups(document: Document) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Cases that differ in size alone, smallest first, or in layout alone."""
    found: dict[str, list[dict[str, Any]]] = {}
    for result in document["cases"]:
        threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}"
        layouts = "" if result["layout"] == "contiguous" else ", 10^6 elements"
        title = f"{result['operation']}, {result['dtype']}{layouts}, {threads}"
        found.setdefault(title, []).append(result)
    for title, group in found.items():
        yield title, sorted(group, key=lambda result: int(result["elements"]))


def _column(result: dict[str, Any]) -> str:
    if result.get("layout", "contiguous") != "contiguous":
        return str(result["layout"])
    return count(result["elements"])


def lines(document: Document) -> Iterator[str]:
    """What has to be said besides the tables."""
    yield from (f"{name}: {value}" for name, value in document["machine"].items())
    yield from (f"Without {name}: {why}" for name, why in document["missing"].items())
    yield from document["notes"]
