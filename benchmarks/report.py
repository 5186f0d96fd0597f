"""Tables of a run, for the terminal and as a page of Markdown, from its JSON document alone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import rich.markup
import rich.table

from benchmarks import cases, kernels, native, peers, small, targets
from benchmarks.measure import Spread, ratio, spread

# Which of ours a side is compared with: what does the same work, from the same memory to the same.
RIVALS = {
    peers.TORCH: peers.OURS_TORCH,
    peers.COMPILE: peers.OURS_TORCH,
    peers.ONNXRUNTIME: peers.OURS,
    peers.JAX: peers.OURS,
    "np.where": peers.OURS,
    "np.maximum": peers.OURS,
    peers.NUMBA: peers.OURS_OUT,
    native.PLAIN_LOOP: native.OURS_C,
    native.ONEDNN: native.OURS_C,
    native.XNNPACK: native.OURS_C,
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

    def markdown(self) -> str:
        lines = [self.headings, ["---" if i == 0 else "---:" for i in range(len(self.headings))], *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        note = f"\n\n{self.note}" if self.note else ""
        return f"### {self.title}\n\n{body}{note}\n"


def duration(seconds: float) -> str:
    for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {name}" if seconds * factor < 1000 else f"{seconds * factor:.0f} {name}"
    return f"{seconds * 1e9:.0f} ns"


def with_quartiles(found: Spread, digits: int = 2) -> str:
    return f"{found.median:.{digits}f} ({found.low:.{digits}f} … {found.high:.{digits}f})"


def tables(document: Document) -> list[Table]:
    """All of them, the wanted figures first."""
    return [
        wanted_figures(document),
        exactness(document),
        *small_calls(document),
        *over_ours(document),
        *times(document),
        *kernel_speeds(document),
        *busy_machine(document),
        *training_steps(document),
    ]


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


def exactness(document: Document) -> Table:
    slopes = ", ".join(f"{slope:g}" for slope in cases.CHECKED_SLOPES)
    note = (
        f"Forward, backward and in place, at the slopes {slopes} ({peers.COMPILE}: the first). Any NaN equals any NaN."
    )
    table = Table("Whose bits are the oracle's", ["side", "dtypes", "differs"], note=note)
    for side in dict.fromkeys(entry["side"] for entry in document["exactness"]):
        entries = [entry for entry in document["exactness"] if entry["side"] == side]
        # Where the same kinds of value differ at the same slopes, dtypes are told together.
        found: dict[tuple[str, str, str], list[str]] = {}
        for operation, dtype in dict.fromkeys((entry["operation"], entry["dtype"]) for entry in entries):
            here = [entry for entry in entries if (entry["operation"], entry["dtype"]) == (operation, dtype)]
            by_slopes: dict[str, list[str]] = {}
            for kind in peers.KINDS:
                where = [f"{entry['slope']:g}" for entry in here if kind in entry["differs"]]
                if where:
                    every = len(where) == len(cases.CHECKED_SLOPES)
                    by_slopes.setdefault("every slope" if every else f"slope {', '.join(where)}", []).append(kind)
            for at, kinds in by_slopes.items():
                found.setdefault((operation, at, ", ".join(kinds)), []).append(dtype)
        texts = [f"{operation} of {', '.join(d)}, {at}: {kinds}" for (operation, at, kinds), d in found.items()]
        table.rows.append([side, _listed(entry["dtype"] for entry in entries), "; ".join(texts) or "nowhere"])
    return table


def small_calls(document: Document) -> Iterator[Table]:
    table = Table("Small calls on NumPy arrays, float32, one thread: µs per call", ["", *map(_count, small.STATEMENTS)])
    table.note = "Medians (quartiles)."
    for statement in dict.fromkeys(statement for times in document["small"].values() for statement in times):
        rounds = [times.get(statement) for times in document["small"].values()]
        cells = [with_quartiles(spread([1e6 * each for each in times])) if times else "" for times in rounds]
        table.rows.append([statement, *cells])
    if table.rows:
        yield table


def over_ours(document: Document) -> Iterator[Table]:
    """For each group of cases, other sides' times over ours."""
    note = "Time over that of ours after the stroke: above 1 ours is faster. Medians (quartiles)."
    for title, group in groups(document):
        table = Table(f"{title}: over ours", ["", *map(column, group)], note=note)
        for side, rival in RIVALS.items():
            cells = []
            for result in group:
                both = [result["sides"].get(side), result["sides"].get(rival)]
                cells.append(with_quartiles(ratio(*both)) if all(both) else "")
            if any(cells):
                table.rows.append([f"{side} / {rival}", *cells])
        if table.rows:
            yield table


def times(document: Document) -> Iterator[Table]:
    for title, group in groups(document):
        table = Table(f"{title}: time", ["", *map(column, group)], note="Medians (quartiles).")
        for side in dict.fromkeys(side for result in group for side in result["sides"]):
            cells = []
            for result in group:
                rounds = result["sides"].get(side)
                low, median, high = map(duration, spread(rounds)) if rounds else ("", "", "")
                cells.append(f"{median} ({low} … {high})" if rounds else "")
            table.rows.append([side, *cells])
        yield table


def kernel_speeds(document: Document) -> Iterator[Table]:
    speeds = {
        (run["size"], run["dtype"], run["target"], run["kernel"]): (
            spread(run["bytes_a_second"]).median,
            spread(run["elements_a_ns"]).median,
        )
        for run in document["kernels"]
    }
    names = list(dict.fromkeys(run["target"] for run in document["kernels"] if run["target"]))
    for size in kernels.SIZES:
        if (size, "", "", "memcpy") not in speeds:
            continue
        copy, _ = speeds[size, "", "", "memcpy"]
        title = f"Kernels alone, {size} an array, one thread; memcpy {copy / 1e9:.1f} GB/s"
        table = Table(title, ["dtype", "target", *kernels.KERNELS.values(), "plain loop"])
        table.note = "Speed over memcpy's (elements a nanosecond)."
        for dtype in cases.DTYPES:
            for target in names:
                keys = [(size, dtype, target, kernel) for kernel in kernels.KERNELS]
                found = [speeds[key] for key in (*keys, (size, dtype, "", "plain_loop"))]
                table.rows.append([dtype, target, *(f"{speed / copy:.2f} ({rate:.1f})" for speed, rate in found)])
        yield table


def training_steps(document: Document) -> Iterator[Table]:
    table = Table(
        "Training steps, with Adam", ["model", "input", "threads", "", peers.TORCH, peers.OURS_TORCH, "ratio"]
    )
    table.note = (
        "Time: torch over ours. Peak: ours over torch, resident memory of the process above that before the step."
    )
    for run in document["training"]:
        theirs, ours = (run["seconds"][side] for side in (peers.TORCH, peers.OURS_TORCH))
        head = [run["model"], run["input"], str(run["threads"])]
        cells = [duration(spread(rounds).median) for rounds in (theirs, ours)]
        table.rows.append([*head, "time", *cells, with_quartiles(ratio(theirs, ours))])
        peaks = [run["peak"][side] for side in (peers.TORCH, peers.OURS_TORCH)]
        cells = [f"{peak / 2**20:.0f} MiB" for peak in peaks]
        table.rows.append([*head, "peak memory", *cells, f"{peaks[1] / peaks[0]:.2f}"])
    if table.rows:
        yield table


def busy_machine(document: Document) -> Iterator[Table]:
    """For each situation the mean times by side and size."""
    for situation in dict.fromkeys(run["situation"] for run in document["busy"]):
        runs = [run for run in document["busy"] if run["situation"] == situation]
        table = Table(f"Mean time of a call, float32, {situation}", ["", "threads", *map(column, runs)])
        table.note = "In brackets: over one thread's. One run, in turn."
        for side in dict.fromkeys(side for run in runs for side in run["means"]):
            for threads in dict.fromkeys(threads for run in runs for threads in run["means"].get(side, {})):
                cells = []
                for run in runs:
                    means = run["means"].get(side, {})
                    over = f" ({means[threads] / means['1']:.2f})" if threads in means and "1" in means else ""
                    cells.append(f"{duration(means[threads])}{over}" if threads in means else "")
                table.rows.append([side, threads, *cells])
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


def column(result: dict[str, Any]) -> str:
    if result.get("layout", "contiguous") != "contiguous":
        return str(result["layout"])
    return _count(result["elements"])


def _count(elements: int) -> str:
    return f"{elements:,}".replace(",", " ")


def lines(document: Document) -> Iterator[str]:
    """What has to be said besides the tables."""
    for name, why in document["missing"].items():
        yield f"Without {name}: {why}"
    yield from document["notes"]


def page(document: Document, pictures: Iterable[str]) -> str:
    """The page of Markdown."""
    facts = "\n".join(f"- {name}: {value}" for name, value in document["machine"].items())
    said = "\n".join(f"- {line}" for line in lines(document))
    images = "\n\n".join(f"![{name}]({name})" for name in pictures)
    body = "\n".join(table.markdown() for table in tables(document))
    form = "full" if document["full"] else "quick"
    parts = [
        f"# Benchmark, {form} form, {document['date']}",
        facts,
        said,
        images,
        body,
    ]
    return "\n\n".join(part for part in parts if part)


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
