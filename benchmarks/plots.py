"""Pictures of a run: time and bandwidth over size, and the roofline."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks import cases, native, peers
from benchmarks.measure import spread

OURS = {peers.OURS_TORCH: "#d62728", peers.OURS: "#ff7f0e", peers.OURS_OUT: "#e377c2", native.OURS_C: "#8c564b"}
COLORS = ("#1f77b4", "#2ca02c", "#9467bd", "#17becf", "#bcbd22", "#7f7f7f", "#aec7e8", "#98df8a", "#c5b0d5", "#9edae5")
LIMITS = {native.MEMCPY: ":", native.STREAM: "--"}
DTYPE_COLORS = dict(zip(cases.DTYPES, ("#d62728", "#1f77b4", "#2ca02c", "#9467bd"), strict=True))
MARKERS = {cases.FORWARD: "o", cases.KEEPING: "s", cases.BACKWARD: "^"}
OPERATIONS_AN_ELEMENT = 2  # a comparison and a multiplication


def draw(document: dict[str, Any], folder: Path) -> list[str]:
    """Writes the pictures and returns their names."""
    _sizes(document).savefig(folder / "sizes.png", dpi=130)
    _roofline(document).savefig(folder / "roofline.png", dpi=130)
    return ["sizes.png", "roofline.png"]


def _sizes(document: dict[str, Any]) -> Figure:
    threads = max((result["threads"] for result in document["cases"]), default=1)
    figure = Figure(figsize=(15, 10), layout="constrained")
    axes: Any = figure.subplots(2, 2, sharex=True)
    names = dict.fromkeys(side for result in document["cases"] for side in result["sides"])
    others = [name for name in names if name not in OURS and name not in LIMITS]
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(others)} | OURS | dict.fromkeys(LIMITS, "black")
    for (upper, lower), operation in zip(axes.T, (cases.FORWARD, cases.BACKWARD), strict=True):
        wanted = {"operation": operation, "dtype": "float32", "layout": "contiguous", "threads": threads}
        results = [result for result in document["cases"] if wanted.items() <= result.items()]
        results.sort(key=lambda result: int(result["elements"]))
        sides = dict.fromkeys(side for result in results for side in result["sides"])
        for side in sides:
            points = [
                (result["elements"], result["bytes_moved"], spread(result["sides"][side]))
                for result in results
                if side in result["sides"]
            ]
            elements = [point[0] for point in points]
            style: dict[str, Any] = {"marker": ".", "linewidth": 1, "alpha": 0.8, "color": colors[side]}
            if side in OURS:
                style |= {"linewidth": 2.5, "alpha": 1}
            if side in LIMITS:
                style |= {"linestyle": LIMITS[side], "linewidth": 1.5}
            upper.plot(elements, [seconds.median for *_, seconds in points], label=side, **style)
            speeds = [moved / seconds.median / 1e9 for _, moved, seconds in points]
            lower.plot(elements, speeds, label=side, **style)
            below = [moved / seconds.high / 1e9 for _, moved, seconds in points]
            above = [moved / seconds.low / 1e9 for _, moved, seconds in points]
            lower.fill_between(elements, below, above, color=colors[side], alpha=0.08, linewidth=0)
        title = f"{operation}, float32, {threads} thread{'s' * (threads > 1)}"
        upper.set(title=title, xscale="log", yscale="log", ylabel="seconds")
        lower.set(xlabel="elements", ylabel="GB/s read and written (bands: quartiles)", yscale="log")
        upper.grid(alpha=0.3)
        lower.grid(alpha=0.3)
    if axes[0][0].lines:
        axes[0][0].legend(frameon=False, fontsize="small")
    figure.suptitle("Black: the copies of as many bytes, which are the limit")
    return figure


def _roofline(document: dict[str, Any]) -> Figure:
    """In memory: all threads against the fastest large copy. In cache: one thread against memcpy of 64 Ki float32."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes: Any = figure.subplots()
    roof = document["multiplications_a_second"]
    intensities = np.geomspace(0.04, 64, 200)
    threads = max((result["threads"] for result in document["cases"]), default=1)
    for elements, count, name, style in (
        (cases.HUGE, threads, "memory", "-"),
        (cases.CACHED, 1, "cache, 1 thread", "--"),
    ):
        wanted = {"operation": cases.FORWARD, "elements": elements, "dtype": "float32", "threads": count}
        copies = [
            result["bytes_moved"] / spread(result["sides"][copy]).median
            for result in document["cases"]
            if wanted.items() <= result.items()
            for copy in native.COPIES
            if copy in result["sides"]
        ]
        if copies:
            top = roof.get(str(count), float("inf"))
            heights = np.minimum(max(copies) * intensities, top)
            label = f"{name}: {max(copies) / 1e9:.0f} GB/s, {top / 1e9:.0f} Gop/s"
            axes.plot(intensities, heights, color="black", linestyle=style, label=label)
    seen = set()
    for result in document["cases"]:
        place = result["elements"], result["threads"]
        side = result["sides"].get(native.OURS_C)
        if (
            side is None
            or result["operation"] not in MARKERS
            or place not in {(cases.HUGE, threads), (cases.CACHED, 1)}
        ):
            continue
        moved = result["bytes_moved"] + (result["operation"] != cases.FORWARD) * result["elements"] / 8
        operations = OPERATIONS_AN_ELEMENT * result["elements"]
        is_huge = result["elements"] == cases.HUGE
        color = DTYPE_COLORS[result["dtype"]]
        label = f"{result['dtype']}, {result['operation']}" + ("" if is_huge else ", in cache")
        axes.plot(
            operations / moved,
            operations / spread(side).median,
            MARKERS[result["operation"]],
            color=color,
            markerfacecolor=color if is_huge else "none",
            markersize=9,
            label=None if label in seen else label,
        )
        seen.add(label)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte read or written", ylabel="operations per second")
    axes.set(title=f"leakyrelu from C, {OPERATIONS_AN_ELEMENT} operations an element")
    axes.grid(alpha=0.3, which="both")
    if axes.lines:
        axes.legend(frameon=False, fontsize="small")
    return figure
