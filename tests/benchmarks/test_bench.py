"""What ./dev bench computes with its times, and that it runs where its peers are missing. No speed is asserted."""

import importlib
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import leakyrelu
from benchmarks import (
    bench,
    busy,
    cases,
    compiled,
    fused,
    measure,
    native,
    peers,
    plots,
    report,
    small,
    targets,
    training,
)
from benchmarks.cases import Case
from benchmarks.data import Data, as_array, normal_numbers, numpy_dtype, oracle, same
from benchmarks.measure import Budget, Side, Spread

QUICK = Budget(0.01, 3, 5)


@pytest.fixture(autouse=True)
def _settings_of_the_process() -> Iterator[None]:
    """Puts back what the bench sets, for the tests that share this process."""
    threads, ours = torch.get_num_threads(), leakyrelu.get_num_threads()
    yield
    torch.set_num_threads(threads)
    leakyrelu.set_num_threads(ours)


# Statistics and timing


def test_spread_is_the_median_between_its_quartiles() -> None:
    assert measure.spread([5, 1, 4, 2, 3]) == (2, 3, 4)
    assert measure.spread([7]) == (7, 7, 7)


def test_ratios_are_taken_within_a_round() -> None:
    # A round that is ten times as slow for both says the same.
    assert measure.ratio([2, 40, 8], [1, 20, 4]) == (2, 2, 2)
    with pytest.raises(ValueError):
        measure.ratio([1, 2], [1])


def test_differences_are_taken_within_a_round() -> None:
    assert measure.difference([2, 41, 8], [1, 40, 7]) == (1, 1, 1)
    with pytest.raises(ValueError):
        measure.difference([1, 2], [1])


def test_blocks_take_turns_and_every_second_round_goes_backwards() -> None:
    calls: list[str] = []
    blocks = {name: lambda name=name: (calls.append(name), len(calls))[1] for name in "abc"}
    assert measure.in_turn(blocks, 3) == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}
    assert calls == list("abccbaabc")


def test_measure_gives_every_side_as_many_rounds() -> None:
    names = {"sleep": measure.time.sleep}
    rounds = measure.measure([Side("a", "sleep(0.031)", names), Side("b", "sleep(0)", names)], QUICK)
    assert [len(each) for each in rounds.values()] == [3, 3]
    assert min(rounds["a"]) >= 0.031
    assert max(rounds["b"]) < 0.031


def test_a_side_has_a_result_as_its_value_or_elsewhere() -> None:
    assert Side("", "f(2)", {"f": lambda x: x + 1}).run() == 3
    assert Side("", "y.append(5)", {"y": []}, "y[0]").run() == 5


# Data and oracle


@pytest.mark.parametrize("name", cases.DTYPES)
def test_numbers_and_their_hundredths_are_normal(name: str) -> None:
    dtype = numpy_dtype(name)
    numbers = normal_numbers(dtype, 3000, seed=0)
    assert numbers.dtype == dtype
    assert 0.4 < np.mean(numbers > 0) < 0.6
    smallest = float(torch.finfo(getattr(torch, name)).smallest_normal)
    assert np.abs(numbers.astype(float)).min() * cases.SLOPE > smallest


def test_oracle_is_the_contract() -> None:
    x = np.array([2, -2, 0.0, -0.0, np.nan, np.inf, -np.inf], np.float32)
    expected = np.array([2, 1, -0.0, 0.0, np.nan, np.inf, np.inf], np.float32)
    assert same(oracle(x, x, -0.5), expected).all()
    assert same(np.array([0.0]), np.array([-0.0])).tolist() == [False]
    assert same(oracle(x, np.ones_like(x), 0.25), np.where(x > 0, 1, np.float32(0.25))).all()


@pytest.mark.parametrize("layout", ["contiguous", *cases.LAYOUTS])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_arrays_and_tensors_of_a_case_are_the_same(layout: str, dtype: str) -> None:
    data = Data(Case(cases.FORWARD, 10**6, 1, dtype, layout))
    assert data.x.size == 10**6
    assert data.x.flags.c_contiguous == (layout == "contiguous")
    assert [stride * data.x.itemsize for stride in data.tensor.stride()] == list(data.x.strides)
    assert same(as_array(data.tensor), data.x).all()
    assert data.leaf().is_leaf


@pytest.mark.parametrize("full", [False, True])
def test_no_case_is_measured_twice(full: bool) -> None:
    grid = list(cases.grid(full, 2))
    assert len(set(grid)) == len(grid)
    assert {case.threads for case in grid} == {1, 2}


def test_every_size_and_dtype_has_its_wanted_figures_in_both_forms() -> None:
    for full in (False, True):
        document = empty_document()
        for case in cases.grid(full, 2):
            document["cases"].append(result_of(case, {}))
        notes = {row.note for row in targets.rows(document) if " over " in row.what}
        assert "not measured" not in notes


# Exactness


@pytest.mark.parametrize("slope", [cases.SLOPE, 0.0, -0.2, 1.7])
@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_ours_and_torch_give_the_oracles_bits_on_numbers_of_all_kinds(dtype: str, slope: float) -> None:
    info = ml_dtypes.finfo(numpy_dtype(dtype))
    tiny, smallest, largest = float(info.tiny), float(info.smallest_subnormal), float(info.max)
    kinds = [0.0, 1.5, largest, np.inf, smallest, tiny / 2, tiny]
    x = np.array([*kinds, *(-kind for kind in kinds), np.nan, -np.nan]).astype(numpy_dtype(dtype))
    checked = 0
    for peer in peers.python_peers()[0]:
        if peer.name not in (peers.OURS, peers.OURS_OUT, peers.OURS_TORCH, peers.TORCH):
            continue
        for operation in (
            cases.FORWARD,
            cases.KEEPING,
            cases.BACKWARD,
            cases.BACKWARD_OPERATOR,
            cases.FORWARD_AND_BACKWARD,
            cases.IN_PLACE,
        ):
            case = Case(operation, x.size, 1, dtype, slope=slope)
            data = Data(case, x.copy())
            side = peer.side(case, data)
            if side is not None:
                expected = data.expected()  # before x is overwritten
                assert same(as_array(side.run()), expected).all(), (peer.name, operation)
                checked += 1
    assert checked == 4 + 3 + 6 + 6


def test_a_copy_and_the_plain_loop_are_sides_where_the_library_makes_a_call() -> None:
    """With a library that remembers what it was asked for."""

    class Library:
        def native_destroy(self, address: int) -> None:
            assert address == 1

        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: calls.append((name, arguments)) or (None if name == "native_plain_loop" else 1)

    calls: list[tuple[str, Any]] = []
    ours, memcpy, stream, plain = native.native_peers(Library())
    case = Case(cases.BACKWARD, 100, 1)
    data = Data(case)
    for peer, function in ((ours, "native_backward"), (memcpy, "native_memcpy"), (stream, "native_stream")):
        assert isinstance(peer.side(case, data), Side)
        assert calls[-1][0] == function
    assert calls[-1][1] == (data.g.ctypes.data, data.y.ctypes.data, 400)
    assert plain.side(case, data) is None
    assert ours.side(Case(cases.FORWARD, cases.TINY, 1), data) is None


# The run


def small_bench(tmp_path: Path) -> bench.Bench:
    """Without native sides."""
    made = bench.Bench(tmp_path, full=False)
    made.budget = QUICK
    return made


def test_what_is_missing_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"onnxruntime"}
    there = importlib.import_module

    def import_module(name: str) -> Any:
        if name in absent:
            raise ImportError(f"No module named\n{name!r}")
        return there(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    made = small_bench(tmp_path)
    missing = made.document["missing"]
    assert set(missing) == {peers.ONNXRUNTIME, "the native sides"}
    assert missing[peers.ONNXRUNTIME] == "ImportError: No module named 'onnxruntime'"
    assert native.LIBRARY in missing["the native sides"]
    assert not any("\n" in line for line in report.lines(made.document))


def test_a_side_that_fails_is_left_out_and_ours_may_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small_bench(tmp_path)
    case = Case(cases.FORWARD, 2, 1)
    monkeypatch.setattr(peers.NumpyWhere, "side", lambda *_: Side("np.where", "x + 1", {"x": np.zeros(2)}))
    made.run([case])
    assert "np.where" in made.document["missing"]
    assert "np.where" not in made.document["cases"][0]["sides"]
    monkeypatch.setattr(peers.Arrays, "side", lambda *_: Side("leakyrelu", "x + 1", {"x": np.zeros(2)}))
    with pytest.raises(AssertionError, match="other bits"):
        made.run([case])


def test_the_smallest_cases_run_and_are_reported(tmp_path: Path) -> None:
    made = small_bench(tmp_path)
    made.run(case for case in cases.grid(False, made.cores) if case.elements == cases.TINY)
    operations = [result["operation"] for result in made.document["cases"]]
    assert len(operations) == len(set(operations)) == 5
    for result in made.document["cases"]:
        assert {peers.TORCH, peers.OURS_TORCH} <= set(result["sides"])
    rows = {row.what: row for row in targets.rows(made.document)}
    assert rows["2 elements, function, over torch"].found is not None
    assert report.tables(made.document)[0].title == "Wanted figures"


def test_small_calls_are_timed_in_turn() -> None:
    found = small.run(QUICK)
    assert {elements: tuple(times) for elements, times in found.items()} == small.STATEMENTS
    assert all(len({len(rounds) for rounds in times.values()}) == 1 for times in found.values())


@pytest.mark.parametrize("wrong", ["y", "mask"])
def test_small_calls_with_other_bits_are_not_timed(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_mask(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y, mask = leakyrelu.leaky_relu(x), np.packbits(x > 0, bitorder="little")
        return (x, mask) if wrong == "y" else (y, ~mask)

    monkeypatch.setattr(leakyrelu, "leaky_relu_with_mask", with_mask)
    with pytest.raises(AssertionError, match=r"leaky_relu_with_mask\(x\) of 2 elements: other bits"):
        small.sides(cases.TINY)


@pytest.mark.parametrize("full", [False, True])
def test_no_fused_case_is_measured_twice(full: bool) -> None:
    grid = list(fused.grid(full))
    assert len(set(grid)) == len(grid)
    assert {case.operation for case in grid} == set(fused.OPERATIONS)


@pytest.mark.parametrize("operation", fused.OPERATIONS)
@pytest.mark.parametrize("layout", [fused.FIRST, fused.LAST])
@pytest.mark.parametrize(
    ("dtype", "clamp", "kept"),
    [("float32", None, [0.125, 4.0]), ("float32", 2.0, [0.25, 8.0]), ("bfloat16", None, [0.125, 2.0])],
)
def test_the_fused_operation_is_compared_with_what_it_replaces(
    operation: str, layout: str, dtype: str, clamp: float | None, kept: list[float]
) -> None:
    found, bytes_kept = fused.sides(fused.Case(operation, 1, layout, clamp, dtype), with_compiler=False)
    assert [side.name for side in found] == [fused.OURS, fused.TORCH] == list(bytes_kept)
    assert list(bytes_kept.values()) == kept
    results = [side.run() for side in found]
    assert results[0].shape == (1, fused.CHANNELS, fused.PIXELS, fused.PIXELS)
    assert results[0].is_contiguous() == (layout == fused.FIRST)
    if dtype == "float32":
        assert torch.equal(*results)


def test_a_fused_operation_with_other_bits_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "fused_leaky_relu", lambda x, b, **_: x)
    with pytest.raises(AssertionError, match="other bits"):
        fused.sides(fused.Case(cases.FORWARD, 1), with_compiler=False)


def test_what_is_kept_when_compiled_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "PIXELS", 16)
    rows = {row["model"]: row for row in compiled.run(full=False)}
    assert len(rows) == 3
    for name, row in rows.items():
        assert row[peers.OURS_TORCH] < row[peers.TORCH] or "BatchNorm" in name


# The report


def empty_document() -> dict[str, Any]:
    return {
        "machine": {"processor": "one of many"},
        "missing": {"onnxruntime": "it was not there"},
        "notes": ["A note"],
        "cases": [],
        "small": {},
        "fused": [],
        "compiled": [],
        "training": [],
        "busy": [],
    }


def result_of(case: Case, sides: dict[str, list[float]]) -> dict[str, Any]:
    fields = ("operation", "elements", "threads", "dtype", "layout", "slope", "bytes_moved")
    return {name: getattr(case, name) for name in fields} | {"sides": sides}


def canned_document() -> dict[str, Any]:
    document = empty_document()
    document["cases"] = [
        result_of(Case(cases.FORWARD, 2, 2), {peers.TORCH: [4e-6, 3e-6, 5e-6], peers.OURS_TORCH: [1e-6] * 3}),
        result_of(
            Case(cases.FORWARD, cases.HUGE, 2),
            {
                peers.TORCH: [0.2, 0.2, 0.2],
                peers.OURS_TORCH: [0.1, 0.1, 0.1],
                peers.OURS: [0.05] * 3,
                native.OURS_C: [0.05] * 3,
                native.STREAM: [0.04] * 3,
            },
        ),
        result_of(Case(cases.FORWARD, 10**6, 2, layout="sliced"), {peers.TORCH: [0.2], peers.OURS_TORCH: [0.1]}),
    ]
    document["small"] = {
        2: {
            small.INTO: [0.7e-6, 0.8e-6, 0.9e-6],
            small.MAXIMUM: [0.8e-6, 0.9e-6, 1e-6],
            small.FRESH: [1.2e-6] * 3,
            small.WITH_MASK: [1.4e-6] * 3,
        },
        small.LARGER: {small.INTO: [2e-6] * 3, small.COPYTO: [1.4e-6] * 3},
    }
    document["training"] = [
        {
            "model": training.HIFIGAN,
            "input": "48 frames",
            "compiled": False,
            "threads": 2,
            "seconds": {peers.TORCH: [1.0, 1.1], peers.OURS_TORCH: [1.0, 1.0]},
            "peak": {peers.TORCH: 100 << 20, peers.OURS_TORCH: 80 << 20},
        }
    ]
    document["fused"] = [
        asdict(fused.Case(cases.FORWARD, fused.SMALL, clamp=256.0))
        | {
            "elements": 1 << 20,
            "kept": {fused.OURS: 0.25, fused.TORCH: 8.0},
            "sides": {fused.OURS: [1e-3] * 3, fused.TORCH: [3e-3] * 3},
        }
    ]
    document["compiled"] = [{"model": "one", peers.TORCH: 4 << 20, peers.OURS_TORCH: 3 << 20}]
    document["busy"] = [
        {
            "situation": busy.COMPUTING,
            "elements": 10**6,
            "threads": 2,
            "means": {
                peers.OURS_OUT: {1: 1e-4, 2: 1.2e-4},
                peers.OURS_TORCH: {1: 1e-4, 2: 1.6e-4},
                peers.TORCH: {2: 1.6e-3},
            },
        }
    ]
    return document


def test_wanted_figures_are_met_missed_or_not_measured_and_none_is_hidden() -> None:
    rows = {row.what: row for row in targets.rows(canned_document())}
    function = rows["2 elements, function, over torch"]
    assert (function.found, function.is_met) == (Spread(3.5, 4, 4.5), True)
    forward = rows["64 000 000, forward, over torch"]
    assert (forward.found, forward.wanted, forward.is_met) == (Spread(2, 2, 2), 4, False)
    copy = rows["64 000 000, forward, C, over copy, streaming stores"]
    assert copy.found is not None
    assert (round(copy.found.median, 3), copy.is_met) == (0.8, False)
    other = rows["64 000 000, forward, arrays, over onnxruntime"]
    assert (other.found, other.is_met, other.note) == (None, False, "no onnxruntime")
    peak = rows["HiFi-GAN, 48 frames, training step, peak memory"]
    assert (peak.at_most, peak.is_met) == (True, False)
    assert rows["HiFi-GAN, 48 frames, training step, time over torch"].is_met
    assert rows["two processes computing, 1 000 000, leakyrelu, out=, mean over one thread's"].is_met
    assert not rows["two processes computing, 1 000 000, leakyrelu.torch, mean over one thread's"].is_met
    assert rows["two processes computing, 1 000 000, mean over torch"].is_met

    bias = rows["fused, forward, 1 048 576 float32, channels first, clamp, over torch, one after the other"]
    assert (bias.found, bias.wanted, bias.is_met) == (Spread(3, 3, 3), 2.5, True)

    into = rows["2, leakyrelu.leaky_relu(x, out=y) minus np.maximum(x, y, out=y)"]
    assert into.found is not None
    assert (round(into.found.median, 6), into.wanted, into.unit, into.is_met) == (-0.1, 0, " µs", True)
    assert not rows["2, leakyrelu.leaky_relu(x)"].is_met
    assert rows["2, leakyrelu.leaky_relu_with_mask(x)"].is_met
    assert rows["2, leakyrelu.leaky_relu_backward(grad, mask)"].note == "not measured"
    assert not rows["10 000, leakyrelu.leaky_relu(x, out=y) minus np.copyto(y, x)"].is_met

    table = report.wanted_figures(canned_document())
    verdicts = {row[0]: row[-1] for row in table.rows}
    assert verdicts["64 000 000, forward, over torch"] == "missed"
    assert verdicts["64 000 000, forward, arrays, over onnxruntime [no onnxruntime]"] == "not measured"
    assert len(verdicts) == len(rows) >= len(targets.rows(empty_document())) > 40


def test_tables_say_what_was_found() -> None:
    tables = {table.title: table for table in report.tables(canned_document())}
    sizes = tables["forward, float32, 2 threads"]
    assert sizes.headings == ["", "2", "64 000 000"]
    assert sizes.rows[0] == ["torch / leakyrelu.torch", "4 µs (4.00)", "200 ms (2.00)"]
    assert sizes.rows[-1] == ["copy, streaming stores / leakyrelu, C", "", "40 ms (0.80)"]
    assert tables["forward, float32, 10^6 elements, 2 threads"].headings == ["", "sliced"]
    calls = tables["Small calls on NumPy arrays, float32, one thread: µs per call"]
    assert calls.headings == ["", "2", "10 000"]
    assert calls.rows[0] == [small.INTO, "0.80 (0.75 … 0.85)", "2.00 (2.00 … 2.00)"]
    assert calls.rows[-1] == [small.COPYTO, "", "1.40 (1.40 … 1.40)"]
    busy_rows = tables["Mean time of a call, float32, two processes computing"].rows
    assert busy_rows[1] == ["leakyrelu, out=", "2", "120 µs (1.20)"]
    assert busy_rows[-1] == ["torch", "2", "1.6 ms"]
    one = tables["Bias, LeakyReLU, scale and clamp, n x 512 x 32 x 32, forward"].rows[0]
    assert one == ["1 048 576", "float32", "channels first", "256", "1 ms (1.00)", "3 ms (3.00)", "", "0.25 / 8"]
    assert tables["What autograd keeps under torch.compile"].rows == [["one", "4.00 MiB", "3.00 MiB", "0.75"]]
    assert [row[-1] for row in tables["Training steps, with Adam"].rows] == ["1.05 (1.02 … 1.08)", "0.80"]


def test_a_busy_machine_is_measured_with_one_thread_and_all_and_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(busy, "_BLOCK_SECONDS", 0.001)
    monkeypatch.setattr(busy, "SITUATIONS", (busy.IDLE, busy.COMPUTING))
    monkeypatch.setattr(busy, "SIZES", (5000,))
    loads: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        loads.append(popen(*arguments, **options))
        return loads[-1]

    monkeypatch.setattr(busy.subprocess, "Popen", start)
    sides, _ = peers.python_peers()
    runs = busy.measure(sides, torch.set_num_threads, 2, rounds=2)
    assert [run["situation"] for run in runs] == [busy.IDLE, busy.COMPUTING]
    for run in runs:
        assert {name for name, means in run["means"].items() if set(means) == {1, 2}} >= {peers.OURS_TORCH}
        assert set(run["means"][peers.TORCH]) == {2}
        assert all(0 < mean < 1 for means in run["means"].values() for mean in means.values())
    assert len(loads) == 2
    assert all(load.returncode is not None for load in loads)


def test_durations_have_three_digits() -> None:
    found = [report.duration(seconds) for seconds in (2.5, 0.0301, 4.25e-5, 7.02e-7)]
    assert found == ["2.5 s", "30.1 ms", "42.5 µs", "702 ns"]


@pytest.mark.parametrize("document", [canned_document(), empty_document()], ids=["canned", "empty"])
def test_everything_is_printed(tmp_path: Path, document: dict[str, Any]) -> None:
    for draw in (plots.speedup, plots.sizes):
        draw(document).savefig(tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    lines = list(report.lines(document))
    assert lines == ["processor: one of many", "Without onnxruntime: it was not there", "A note"]
    for table in report.tables(document):
        assert table.rich().row_count == len(table.rows) > 0
        assert all(len(row) == len(table.headings) for row in table.rows)


def test_the_picture_has_a_style_for_every_side() -> None:
    assert set(plots.STYLES) == set(report.RIVALS) | set(report.RIVALS.values()) | {peers.OURS_OUT}


def test_the_picture_of_speed_has_torchs_time_over_ours_and_the_caches() -> None:
    document = canned_document()
    document["machine"]["caches"] = "L1 data 32K, L1 instruction 32K, L2 unified 1024K, L3 unified 32768K"
    document["cases"].append(result_of(Case(cases.FORWARD, 10, 1), {peers.TORCH: [9.0], peers.OURS_TORCH: [1.0]}))
    document["cases"].append(result_of(Case(cases.IN_PLACE, 10, 2), {peers.TORCH: [1.0]}))
    (axes,) = plots.speedup(document).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines[cases.FORWARD].get_xydata().tolist() == [[2, 4], [cases.HUGE, 2]], "all threads, contiguous"
    assert cases.IN_PLACE not in lines, "torch's alone"
    assert [text.get_text().strip() for text in axes.texts] == ["L1", "L2", "L3"]
    assert plots.filled_caches(document["machine"]["caches"]) == {"L1": 1 << 12, "L2": 1 << 17, "L3": 1 << 22}
    assert plots.filled_caches("?") == {}
