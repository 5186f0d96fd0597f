"""The pictures of a run: how much faster than torch, and time and bandwidth of all sides, over size."""

import re
from typing import Any

from matplotlib.figure import Figure

from benchmarks import cases, native, peers
from benchmarks.measure import ratio, spread

_OURS: dict[str, Any] = {"linewidth": 2.5}
_LIMIT: dict[str, Any] = {"linewidth": 1.5, "color": "black"}
_OTHERS: dict[str, Any] = {"color": "#9a9a9a"}
STYLES: dict[str, dict[str, Any]] = {
    peers.OURS_TORCH: _OURS | {"color": "#d62728"},
    peers.OURS: _OURS | {"color": "#ff7f0e"},
    peers.OURS_OUT: _OURS | {"color": "#e377c2"},
    native.OURS_C: _OURS | {"color": "#8c564b"},
    native.MEMCPY: _LIMIT | {"linestyle": ":"},
    native.STREAM: _LIMIT | {"linestyle": "--"},
    peers.TORCH: {"color": "#1f77b4"},
    peers.ONNXRUNTIME: _OTHERS,
    peers.WHERE: _OTHERS | {"linestyle": "--"},
    peers.MAXIMUM: _OTHERS | {"linestyle": ":"},
    native.PLAIN_LOOP: _OTHERS | {"linestyle": "-."},
}
# What a reader acts on.
SPEEDUPS = {
    cases.FORWARD_AND_BACKWARD: "#d62728",
    cases.FORWARD: "#1f77b4",
    cases.IN_PLACE: "#2ca02c",
}


def speedup(document: dict[str, Any]) -> Figure:
    """torch's time over ours."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes: Any = figure.add_subplot()
    axes.axhline(1, color="black", linewidth=1)
    for operation, color in SPEEDUPS.items():
        points = [
            (result["elements"], ratio(result["sides"][peers.TORCH], result["sides"][peers.OURS_TORCH]))
            for result in _results(document, operation)
            if {peers.TORCH, peers.OURS_TORCH} <= result["sides"].keys()
        ]
        if not points:
            continue
        elements = [point[0] for point in points]
        axes.plot(
            elements, [found.median for _, found in points], color=color, marker=".", linewidth=2, label=operation
        )
        axes.fill_between(
            elements,
            [found.low for _, found in points],
            [found.high for _, found in points],
            color=color,
            alpha=0.12,
            linewidth=0,
        )
    for name, filled_by in filled_caches(document["machine"].get("caches", "")).items():
        axes.axvline(filled_by, color="#9a9a9a", linewidth=1, linestyle=":")
        axes.annotate(f" {name}", (filled_by, 1), xycoords=("data", "axes fraction"), va="bottom", color="#606060")
    axes.set(xscale="log", yscale="log", xlabel="elements", ylabel="torch's time over ours", xlim=(1, 1e8))
    ticks = [0.5, 1, 2, 3, 5, 10, 20]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    axes.set_title(f"leakyrelu.torch beside torch, {_what(document)}; above 1 ours is faster", pad=20)
    return figure


def filled_caches(caches: str) -> dict[str, int]:
    """The elements of float32 whose input and output together fill each cache, from what machine.py says of them."""
    found = re.findall(r"(L\d) (?:data|unified) (\d+)K", caches)
    return {name: int(kilobytes) * 1024 // 8 for name, kilobytes in found}


def _threads(document: dict[str, Any]) -> int:
    return max((result["threads"] for result in document["cases"]), default=1)


def _what(document: dict[str, Any]) -> str:
    threads = _threads(document)
    return f"float32, {threads} thread{'s' * (threads > 1)}"


def _results(document: dict[str, Any], operation: str) -> list[dict[str, Any]]:
    """On contiguous float32 with all threads, in the order of size."""
    wanted = {"operation": operation, "dtype": "float32", "layout": "contiguous", "threads": _threads(document)}
    results = [result for result in document["cases"] if wanted.items() <= result.items()]
    return sorted(results, key=lambda result: int(result["elements"]))


def sizes(document: dict[str, Any]) -> Figure:
    """Time and bandwidth of all sides."""
    figure = Figure(figsize=(15, 10), layout="constrained")
    axes: Any = figure.subplots(2, 2, sharex=True)
    for (upper, lower), operation in zip(axes.T, (cases.FORWARD, cases.BACKWARD), strict=True):
        results = _results(document, operation)
        for side, style in STYLES.items():
            points = [
                (result["elements"], result["bytes_moved"] / 1e9, spread(result["sides"][side]))
                for result in results
                if side in result["sides"]
            ]
            if not points:
                continue
            elements = [point[0] for point in points]
            style = {"marker": ".", "linewidth": 1, "label": side} | style
            upper.plot(elements, [seconds.median for *_, seconds in points], **style)
            lower.plot(elements, [gigabytes / seconds.median for _, gigabytes, seconds in points], **style)
            below = [gigabytes / seconds.high for _, gigabytes, seconds in points]
            above = [gigabytes / seconds.low for _, gigabytes, seconds in points]
            lower.fill_between(elements, below, above, color=style["color"], alpha=0.08, linewidth=0)
        upper.set(title=f"{operation}, {_what(document)}", xscale="log", yscale="log", ylabel="seconds")
        lower.set(xlabel="elements", ylabel="GB/s read and written (bands: quartiles)", yscale="log")
        upper.grid(alpha=0.3)
        lower.grid(alpha=0.3)
    if axes[0][0].lines:
        axes[0][0].legend(frameon=False, fontsize="small")
    figure.suptitle("Black: the copies of as many bytes, which are the limit; grey: other libraries")
    return figure
