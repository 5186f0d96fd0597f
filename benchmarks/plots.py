"""The picture of a run: time and bandwidth over size."""

from typing import Any

from matplotlib.figure import Figure

from benchmarks import cases, native, peers
from benchmarks.measure import spread

_OURS: dict[str, Any] = {"linewidth": 2.5}
_LIMIT: dict[str, Any] = {"linewidth": 1.5, "color": "black"}
STYLES: dict[str, dict[str, Any]] = {
    peers.OURS_TORCH: _OURS | {"color": "#d62728"},
    peers.OURS: _OURS | {"color": "#ff7f0e"},
    peers.OURS_OUT: _OURS | {"color": "#e377c2"},
    native.OURS_C: _OURS | {"color": "#8c564b"},
    native.MEMCPY: _LIMIT | {"linestyle": ":"},
    native.STREAM: _LIMIT | {"linestyle": "--"},
    peers.TORCH: {"color": "#1f77b4"},
    peers.ONNXRUNTIME: {"color": "#2ca02c"},
    peers.WHERE: {"color": "#9467bd"},
    peers.MAXIMUM: {"color": "#17becf"},
    native.PLAIN_LOOP: {"color": "#bcbd22"},
}


def draw(document: dict[str, Any]) -> Figure:
    threads = max((result["threads"] for result in document["cases"]), default=1)
    figure = Figure(figsize=(15, 10), layout="constrained")
    axes: Any = figure.subplots(2, 2, sharex=True)
    for (upper, lower), operation in zip(axes.T, (cases.FORWARD, cases.BACKWARD), strict=True):
        wanted = {"operation": operation, "dtype": "float32", "layout": "contiguous", "threads": threads}
        results = [result for result in document["cases"] if wanted.items() <= result.items()]
        results.sort(key=lambda result: int(result["elements"]))
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
        title = f"{operation}, float32, {threads} thread{'s' * (threads > 1)}"
        upper.set(title=title, xscale="log", yscale="log", ylabel="seconds")
        lower.set(xlabel="elements", ylabel="GB/s read and written (bands: quartiles)", yscale="log")
        upper.grid(alpha=0.3)
        lower.grid(alpha=0.3)
    if axes[0][0].lines:
        axes[0][0].legend(frameon=False, fontsize="small")
    figure.suptitle("Black: the copies of as many bytes, which are the limit")
    return figure
