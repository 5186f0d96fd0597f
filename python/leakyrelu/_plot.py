"""The picture of ``leakyrelu plot``, its values computed by the library. Needs matplotlib."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

import leakyrelu

LIMIT = 7.0  # The page draws x from -7 to 7.
GRADIENT_LIMIT = 2.0  # All that happens in the gradient is a step at 0.
_SMALL = 0.05  # A slope that looks like 0, unless it is enlarged.
_COLORS = ("#1f6fb8", "#d9482b", "#2f9048", "#8a4fb0", "#d9931c", "#17969c")
_SHARED = "#30363f"  # Where x > 0 the slopes do not matter: one line for all.
_AXES = "#8b939e"
_RELU: dict[str, Any] = {"color": "black", "linewidth": 1.2, "linestyle": "--", "zorder": 3}


def draw(slopes: Sequence[float], gradient: bool, file_format: str) -> bytes:
    """Draws LeakyReLU, or its gradient, for each slope, beside ReLU.

    Args:
        slopes: One or more finite negative slopes.
        gradient: Whether to draw the gradient instead of the function.
        file_format: ``"png"`` or ``"svg"``.

    Returns:
        The bytes of the picture's file.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # No remarks about caches and fonts on stderr.
    slope = str(slopes[0]) if len(slopes) == 1 else "negative_slope"
    name, formula = f"LeakyReLU({slope})", f"x > 0 ? x : x * {slope}"
    limit, lowest, highest = LIMIT, -LIMIT, LIMIT
    if gradient:
        name, formula, limit = f"Gradient of {name}", f"x > 0 ? 1 : {slope}", GRADIENT_LIMIT
        lowest, highest = (max(-1e300, min(0.0, *slopes)), min(1e300, max(1.0, *slopes)))
        margin = 0.08 * (highest - lowest)
        lowest, highest = lowest - margin, highest + margin

    with matplotlib.style.context("default"):
        figure = Figure(figsize=(6.4, 4.8) if gradient else (6.4, 6.4))
        axes = figure.add_subplot(xlim=(-limit, limit), ylim=(lowest, highest), axisbelow=True)
        axes.set_title(f"{name}: {'dy/dx' if gradient else 'y'} = {formula}")
        axes.set(xlabel="input", ylabel="gradient" if gradient else "output", aspect="auto" if gradient else "equal")
        _draw_lines(axes, slopes, gradient, limit)
        # Empty but where steep slopes have the line at 1 low.
        place: Any = "best" if gradient and max(slopes) > 1 else "lower right"
        axes.legend(title="negative_slope" if len(slopes) > 1 else None, loc=place)

        small = [abs(slope) for slope in slopes if 0 < abs(slope) < _SMALL]
        if small and min(slopes) > -_SMALL and max(slopes) <= 1:  # No line crosses the place for it.
            inset = axes.inset_axes((0.63, 0.4, 0.35, 0.38) if gradient else (0.1, 0.62, 0.36, 0.32))
            reach = 1.5 * max(small) * (1 if gradient else limit)
            inset.set(xlim=(-limit, 0), ylim=(-reach, reach), axisbelow=True)
            inset.set_title("x <= 0, enlarged upwards", fontsize="small")
            inset.tick_params(labelsize="small")
            inset.locator_params(nbins=4)
            _draw_lines(inset, slopes, gradient, limit)
        output = io.BytesIO()
        figure.savefig(output, format=file_format, dpi=150, bbox_inches="tight")
    return output.getvalue()


def _draw_lines(axes: Any, slopes: Sequence[float], gradient: bool, limit: float) -> None:
    axes.grid(color="#e4e7eb")
    axes.tick_params(color=_AXES)
    axes.spines[:].set_color(_AXES)
    axes.axhline(color=_AXES, linewidth=1)
    axes.axvline(color=_AXES, linewidth=1)
    # x == 0 is on the slope's side: the other begins with the smallest x above 0, no line between.
    left = np.linspace(-limit, 0.0, 701)
    right = np.append(np.nextafter(0.0, 1.0), np.linspace(0.0, limit, 701)[1:])
    values = _gradient if gradient else leakyrelu.leaky_relu
    shared = _COLORS[0] if len(slopes) == 1 else _SHARED
    line: dict[str, Any] = {"linewidth": 2.5, "solid_capstyle": "butt" if gradient else "round"}
    for index, slope in enumerate(slopes):
        color = _COLORS[index % len(_COLORS)]
        y = values(left, slope)
        axes.plot(left, y, color=color, label=str(slope) if len(slopes) > 1 else f"LeakyReLU({slope})", **line)
        if gradient and slope != 1:  # The end that the jump includes; the end that it leaves out is hollow.
            axes.plot(0, y[-1], "o", color=color)
    axes.plot(right, values(right, slopes[0]), color=shared, **line)
    if gradient and any(slope != 1 for slope in slopes):
        axes.plot(0, 1, "o", color=shared, markerfacecolor="white", markeredgewidth=1.5)
    axes.plot(left, values(left, 0.0), label="ReLU", **_RELU)
    axes.plot(right, values(right, 0.0), **_RELU)


def _gradient(x: np.ndarray[Any, Any], slope: float) -> np.ndarray[Any, Any]:
    _, mask = leakyrelu.leaky_relu_with_mask(x)
    gradient: np.ndarray[Any, Any] = leakyrelu.leaky_relu_backward(np.ones_like(x), mask, slope)
    return gradient
