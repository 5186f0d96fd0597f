"""The command ``leakyrelu``: arguments, help, progress and errors. _apply.py, _plot.py and _bench.py work."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

import leakyrelu
from leakyrelu import _apply

_FILE = click.Path(path_type=Path)


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="'leakyrelu COMMAND --help' shows a command's options and examples.",
)
@click.version_option(leakyrelu.__version__, message="leakyrelu %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """LeakyReLU: x where x > 0, and negative_slope * x elsewhere."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command(
    short_help="Apply LeakyReLU to the array in a .npy file.",
    epilog="""\b
    Examples:
      leakyrelu apply x.npy y.npy
      leakyrelu apply x.npy y.npy --negative-slope 0.2 --mask mask.npy
      leakyrelu apply x.npy x.npy""",
)
@click.argument("source", metavar="IN.npy", type=_FILE)
@click.argument("target", metavar="OUT.npy", type=_FILE)
@click.option("--negative-slope", type=float, default=0.01, show_default=True, help="The slope for x <= 0.")
@click.option("--mask", metavar="MASK.npy", type=_FILE, help="Also write the mask to this file.")
def apply(source: Path, target: Path, negative_slope: float, mask: Path | None) -> None:
    """Apply LeakyReLU to the array in IN.npy and write the result to OUT.npy.

    The array is float16, float32 or float64, of any shape, and may be larger than memory. OUT.npy
    may be IN.npy. After an error or an interrupt every file is as it was before.

    The mask holds one bit per element, all that the gradient needs:
    numpy.packbits(x.ravel() > 0, bitorder="little").
    """
    if mask is not None and os.path.realpath(mask) in map(os.path.realpath, (source, target)):
        raise click.UsageError("--mask must name a file of its own, neither IN.npy nor OUT.npy")
    raise_if_signalled = _hold_signals()
    with _progress("apply") as advance:

        def advance_or_stop(done: int, total: int) -> None:
            raise_if_signalled()
            advance(done, total)

        what = _apply.apply(source, target, negative_slope, mask, advance_or_stop)
    _say(f"wrote {target}: {what}")
    if mask is not None:
        _say(f"wrote {mask}: one bit per element")


@cli.command(
    short_help="Draw LeakyReLU or its gradient.",
    epilog="""\b
    Examples:
      leakyrelu plot
      leakyrelu plot slopes.svg --negative-slope 0.01 --negative-slope 0.2
      leakyrelu plot gradient.png --gradient""",
)
@click.argument("target", metavar="[OUT]", type=_FILE, default="leakyrelu.png")
@click.option(
    "--negative-slope",
    "slopes",
    type=float,
    multiple=True,
    default=[0.01],
    show_default=True,
    help="The slope to draw; repeat it for several.",
)
@click.option("--gradient", is_flag=True, help="Draw the gradient instead of the function.")
def plot(target: Path, slopes: tuple[float, ...], gradient: bool) -> None:
    """Draw LeakyReLU for x from -7 to 7, or the step in its gradient, into OUT, a .png or .svg file.

    ReLU is dashed. OUT is leakyrelu.png unless given. Needs matplotlib: pip install 'leakyrelu[cli,plot]'
    """
    file_format = target.suffix.lower().removeprefix(".")
    if file_format not in ("png", "svg"):
        raise click.UsageError(f"OUT must end in .png or .svg, not {target.name}")
    if not all(abs(slope) <= sys.float_info.max for slope in slopes):
        raise click.UsageError("a slope must be finite to be drawn")
    try:
        from leakyrelu import _plot
    except ImportError:
        raise click.ClickException("needs matplotlib: pip install 'leakyrelu[cli,plot]'") from None
    picture = _plot.draw(slopes, gradient, file_format)
    _hold_signals()
    with _apply.replacing(target) as (file,):
        file.write(picture)
    what, limit = ("the gradient", _plot.GRADIENT_LIMIT) if gradient else ("LeakyReLU", _plot.LIMIT)
    _say(f"wrote {target}: {what} for x from {-limit:g} to {limit:g}, ReLU dashed")


@cli.command(
    short_help="Time the array functions beside a copy.",
    epilog="""\b
    Examples:
      leakyrelu bench
      OMP_NUM_THREADS=1 leakyrelu bench""",
)
def bench() -> None:
    """Time the functions on arrays beside numpy.copyto of as many bytes, which memory limits.

    Printed are the bytes read and written per second, and the part that this is of the copy's. The
    copy has one thread. Takes some 15 seconds and half a GiB.
    """
    from leakyrelu import _bench

    click.echo(f"target: {_bench.target()}, threads: {leakyrelu.get_num_threads()}")
    click.echo(_bench.heading())
    with _progress("bench") as advance:
        for done, row in enumerate(_bench.measure(), 1):
            click.echo(_bench.line(row))
            advance(done, len(_bench.dtypes()) * len(_bench.SIZES))


@cli.command(
    short_help="Tell what was built, what is there and what is in use.",
    epilog="""\b
    Example, with both chosen by hand:
      LEAKYRELU_TARGET=SSE4 OMP_NUM_THREADS=1 leakyrelu info""",
)
def info() -> None:
    """Tell the version, dtypes, SIMD targets (best first), threads, memory, CUDA and PyTorch, one a line."""
    from leakyrelu import _info

    for line in _info.lines():
        click.echo(line)


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, where that is a terminal, and what moves it on: to a number done of a total."""
    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(name, total=None)
    with bar if os.isatty(2) else contextlib.nullcontext():  # Some versions print even if disabled.
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _say(text: str) -> None:
    """Prints what has been written, which is there even if stdout takes no word of it."""
    try:
        click.echo(_on_one_line(text))
    except OSError:
        _drop_stdout()


def _drop_stdout() -> None:
    """What it refused must not fail again, and loudly, at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _hold_signals() -> Callable[[], None]:
    """Holds SIGINT, SIGTERM and SIGHUP back for good; what it returns raises if one has come.

    So no signal, however often sent, separates two steps on files that belong together. One that
    is ignored (by nohup, say) stays so.
    """
    caught: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: caught.append(number))

    def raise_if_signalled() -> None:
        if caught:
            raise KeyboardInterrupt

    return raise_if_signalled


def _describe(error: Exception) -> str:
    """What went wrong, on one line, whatever the texts and file names in it hold."""
    if isinstance(error, click.UsageError):
        named = [name for name in sys.argv[1:2] if name in cli.commands]
        command = error.ctx.command_path if error.ctx else " ".join(["leakyrelu", *named])
        text = f"{error.format_message().rstrip('.')} (see {command} --help)"
    elif isinstance(error, OSError) and error.strerror:
        name = error.filename2 or error.filename
        text = f"{name}: {error.strerror}" if name else error.strerror
    elif isinstance(error, MemoryError):
        text = str(error) or "out of memory"
    else:
        text = str(error) or type(error).__name__
    return _on_one_line(text)


def _on_one_line(text: str) -> str:
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def main() -> None:
    """Runs the command line and exits: status 0, 2 for wrong usage, 1 for the rest."""
    status, message = 1, ""
    try:
        # Not cli.main(), which adds a line of its own to an interrupt.
        with cli.make_context("leakyrelu", sys.argv[1:]) as context:
            cli.invoke(context)
        status = 0
    except click.exceptions.Exit as request:  # --help and --version.
        status = request.exit_code
    except KeyboardInterrupt:
        message = "interrupted"
    except BrokenPipeError:
        pass
    except Exception as error:
        status = 2 if isinstance(error, click.UsageError) else 1
        message = _describe(error)
    if message:
        with contextlib.suppress(OSError):
            click.echo(f"leakyrelu: error: {message}", err=True)
    if status != 0:
        _drop_stdout()
    sys.exit(status)
