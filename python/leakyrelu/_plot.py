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

_LIMIT = 7.0  # The page draws x from -7 to 7.
_COLORS = ("#1f6fb8", "#d9482b", "#2f9048", "#8a4fb0", "#d9931c", "#17969c")
_SHARED = "#30363f"  # Where x > 0 the slopes do not matter: one line for all.
_AXES = "#8b939e"

# x == 0 is on the slope's side: the other begins with the smallest x above 0, no line between.
_LEFT = np.linspace(-_LIMIT, 0.0, 701)
_RIGHT = np.append(np.nextafter(0.0, 1.0), np.linspace(0.0, _LIMIT, 701)[1:])


def draw(slopes: Sequence[float], gradient: bool, file_format: str) -> bytes:
    """Draws LeakyReLU, or its gradient, for each slope.

    Args:
        slopes: One or more finite negative slopes.
        gradient: Whether to draw the gradient instead of the function.
        file_format: ``"png"`` or ``"svg"``.

    Returns:
        The bytes of the picture's file.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # No remarks about caches and fonts on stderr.
    values = _gradient if gradient else leakyrelu.leaky_relu
    name = f"LeakyReLU(negative_slope={slopes[0]})" if len(slopes) == 1 else "LeakyReLU"
    # Nothing happens far from 0 in the gradient, so its picture is as low as the slopes allow.
    reach = min(_LIMIT, max(3.0, 1.0 + max(map(abs, slopes)))) if gradient else _LIMIT

    with matplotlib.style.context("default"):
        figure = Figure(figsize=(6.4, 6.4))
        axes = figure.add_subplot(
            title=f"Gradient of {name}" if gradient else name,
            xlabel="input",
            ylabel="gradient" if gradient else "output",
            xlim=(-_LIMIT, _LIMIT),
            ylim=(-reach, reach),
            aspect="equal",
            axisbelow=True,
        )
        axes.grid(color="#e4e7eb")
        axes.tick_params(color=_AXES)
        axes.spines[:].set_color(_AXES)
        axes.axhline(color=_AXES, linewidth=1)
        axes.axvline(color=_AXES, linewidth=1)
        shared = _COLORS[0] if len(slopes) == 1 else _SHARED
        line: dict[str, Any] = {"linewidth": 2.5, "solid_capstyle": "butt" if gradient else "round"}
        for index, slope in enumerate(slopes):
            color = _COLORS[index % len(_COLORS)]
            y = values(_LEFT, slope)
            axes.plot(_LEFT, y, color=color, label=str(slope), **line)
            if gradient and slope != 1:  # The end that the jump includes; the end that it leaves out is hollow.
                axes.plot(0, y[-1], "o", color=color)
        axes.plot(_RIGHT, values(_RIGHT, slopes[0]), color=shared, **line)
        if gradient and any(slope != 1 for slope in slopes):
            axes.plot(0, 1, "o", color=shared, markerfacecolor="white", markeredgewidth=1.5)
        if len(slopes) > 1:
            axes.legend(title="negative_slope", loc="lower right")  # Empty for every slope.
        output = io.BytesIO()
        figure.savefig(output, format=file_format, dpi=150, bbox_inches="tight")
    return output.getvalue()


def _gradient(x: np.ndarray[Any, Any], slope: float) -> np.ndarray[Any, Any]:
    _, mask = leakyrelu.leaky_relu_with_mask(x)
    gradient: np.ndarray[Any, Any] = leakyrelu.leaky_relu_backward(np.ones_like(x), mask, slope)
    return gradient
