"""Integration: known waveforms, gaps, splits, and the bound on what sampling hides."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from energy.errors import EnergyError, TraceError
from energy.integrate import (
    EnergyValue,
    Saving,
    WindowFigures,
    WindowIntegrator,
    energy_saving,
)
from energy.samples import Sampling, TraceChunk

Floats = NDArray[np.float64]
VOLTS = 3.3
RATE_HZ = 1000.0
# 4,000 samples a window and more: a jump within a sample that an edge cuts hides a quarter of one.
WAVE_HZ = 5000.0


def chunk(first: int, current_a: Floats, volts: float = VOLTS) -> TraceChunk:
    n = len(current_a)
    return TraceChunk(first, current_a, np.full(n, volts), np.zeros(n, dtype=np.uint8))


def integrate(
    chunks: list[TraceChunk],
    windows: list[tuple[float, float]],
    sampling: Sampling,
    rate_hz: float = RATE_HZ,
) -> WindowFigures:
    start, stop = np.array(windows, dtype=np.float64).reshape(-1, 2).T
    integrator = WindowIntegrator(start, stop, rate_hz=rate_hz, sampling=sampling)
    for part in chunks:
        integrator.feed(part)
    return integrator.finish()


def assert_near(got: float, expected: float, fraction: float) -> None:
    """Written so that NaN fails."""
    assert abs(got - expected) <= fraction * abs(expected), f"{got} instead of {expected}"


# Each waveform: its antiderivative in A·s, the current in A at a time in s, and whether it is
# continuous: samples at instants cannot place a jump better than to half a sample. The square
# wave's period is exact in binary, so that its two terms agree on where a period begins.
WAVES: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats], bool]] = {
    "constant": (lambda t: 0.05 * t, lambda t: np.full_like(t, 0.05), True),
    "ramp": (lambda t: 0.01 * t * t, lambda t: 0.02 * t, True),
    "sine": (
        lambda t: 0.05 * t - 0.04 / (2 * math.pi * 7) * np.cos(2 * math.pi * 7 * t),
        lambda t: 0.05 + 0.04 * np.sin(2 * math.pi * 7 * t),
        True,
    ),
    "decay": (lambda t: -0.08 * 0.3 * np.exp(-t / 0.3), lambda t: 0.08 * np.exp(-t / 0.3), True),
    "square": (
        lambda t: 0.01 * t + 0.05 * (np.floor(t / 0.125) * 0.05 + np.minimum(t % 0.125, 0.05)),
        lambda t: np.where(t % 0.125 < 0.05, 0.06, 0.01),
        False,
    ),
}


@pytest.mark.parametrize("name", WAVES)
@settings(max_examples=40, deadline=None)
@given(
    phase=st.floats(0, 1, exclude_max=True), start=st.floats(0.01, 1.0), span=st.floats(0.8, 0.95)
)
def test_mean_samples_recover_analytic_energy(
    name: str, phase: float, start: float, span: float
) -> None:
    integral, _, _ = WAVES[name]
    origin_s = phase / WAVE_HZ  # where in the wave sample 0 begins
    edges_s = origin_s + np.arange(10_010) / WAVE_HZ
    samples = np.diff(integral(edges_s)) * WAVE_HZ
    figures = integrate([chunk(0, samples)], [(start, start + span)], "mean", WAVE_HZ)
    exact = integral(np.array([origin_s + start, origin_s + start + span]))
    assert bool(figures.valid[0])
    assert_near(float(figures.energy_j[0]), VOLTS * float(exact[1] - exact[0]), 1e-3)
    assert_near(float(figures.charge_c[0]), float(exact[1] - exact[0]), 1e-3)
    assert_near(float(figures.mean_a[0]), float(exact[1] - exact[0]) / span, 1e-3)


@pytest.mark.parametrize("name", [name for name, wave in WAVES.items() if wave[2]])
@settings(max_examples=40, deadline=None)
@given(
    phase=st.floats(0, 1, exclude_max=True), start=st.floats(0.01, 1.0), span=st.floats(0.8, 0.95)
)
def test_point_samples_recover_analytic_energy(
    name: str, phase: float, start: float, span: float
) -> None:
    integral, wave, _ = WAVES[name]
    origin_s = phase / WAVE_HZ
    samples = wave(origin_s + np.arange(10_010) / WAVE_HZ)
    figures = integrate([chunk(0, samples)], [(start, start + span)], "point", WAVE_HZ)
    exact = integral(np.array([origin_s + start, origin_s + start + span]))
    assert_near(float(figures.energy_j[0]), VOLTS * float(exact[1] - exact[0]), 1e-3)


@settings(max_examples=40, deadline=None)
@given(phase=st.floats(0, 1, exclude_max=True))
def test_a_pulse_is_recovered_by_point_samples_whatever_the_phase(phase: float) -> None:
    # 0.4 s of 60 mA in 10 mA, at 10 kS/s: the two jumps cost at most one sample, 0.025 %.
    rate_hz = 10_000.0
    t = (phase + np.arange(10_000)) / rate_hz
    samples = np.where((t >= 0.3) & (t < 0.7), 0.06, 0.01)
    origin_s = phase / rate_hz
    figures = integrate([chunk(0, samples)], [(0.0, 0.999)], "point", rate_hz)
    exact = VOLTS * (0.01 * 0.999 + 0.05 * 0.4)
    assert origin_s < 1e-4
    assert_near(float(figures.energy_j[0]), exact, 1e-3)


@settings(max_examples=60, deadline=None)
@given(start=st.floats(0, 9), span=st.floats(1e-3, 1))
def test_a_ramp_is_exact_for_point_samples_in_any_window(start: float, span: float) -> None:
    figures = integrate(
        [chunk(0, np.arange(6.0)), chunk(6, np.arange(6.0, 12.0))],
        [(start, start + span)],
        "point",
        1.0,
    )
    exact = (start + span / 2) * span
    assert_near(float(figures.charge_c[0]), exact, 1e-9)
    assert_near(float(figures.energy_j[0]), VOLTS * exact, 1e-9)


samples_strategy = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=2, max_size=60)


@settings(max_examples=150, deadline=None)
@given(
    samples=samples_strategy,
    cuts=st.lists(st.integers(0, 60), max_size=8),
    windows=st.lists(st.tuples(st.floats(-5, 65), st.floats(0, 40)), min_size=1, max_size=8),
    holes=st.lists(st.integers(0, 60), max_size=3),
    lost=st.lists(st.integers(0, 59), max_size=3),
    sampling=st.sampled_from(["mean", "point"]),
)
def test_splitting_the_stream_changes_nothing(
    samples: list[float],
    cuts: list[int],
    windows: list[tuple[float, float]],
    holes: list[int],
    lost: list[int],
    sampling: Sampling,
) -> None:
    data = np.array(samples)
    data[[k for k in lost if k < len(data)]] = np.nan
    spans = [(a / RATE_HZ, (a + d) / RATE_HZ) for a, d in windows]
    # Samples at `holes` are missing: the stream has gaps there, however it is cut besides.
    missing = sorted({h for h in holes if h < len(data)})
    runs: list[TraceChunk] = []
    pieces: list[TraceChunk] = []
    for first, last in zip([0, *(h + 1 for h in missing)], [*missing, len(data)], strict=True):
        if first < last:
            runs.append(chunk(first, data[first:last]))
            inner = sorted({first, last, *(c for c in cuts if first < c < last)})
            pieces += [chunk(a, data[a:b]) for a, b in pairwise(inner)]
    whole, split = integrate(runs, spans, sampling), integrate(pieces, spans, sampling)
    for field in ("energy_j", "charge_c", "mean_a", "peak_a", "duration_s", "uncertainty_j"):
        np.testing.assert_allclose(
            getattr(whole, field), getattr(split, field), rtol=1e-9, atol=1e-12, err_msg=field
        )
    np.testing.assert_array_equal(whole.valid, split.valid)


@settings(max_examples=100, deadline=None)
@given(
    samples=samples_strategy,
    inner=st.lists(st.floats(0, 1), max_size=6),
    sampling=st.sampled_from(["mean", "point"]),
)
def test_windows_that_partition_the_trace_add_up(
    samples: list[float], inner: list[float], sampling: Sampling
) -> None:
    length = len(samples) - (0 if sampling == "mean" else 1)
    edges = np.sort(np.array([0.0, *inner, 1.0])) * length / RATE_HZ
    parts = integrate([chunk(0, np.array(samples))], list(pairwise(edges)), sampling)
    whole = integrate([chunk(0, np.array(samples))], [(0.0, length / RATE_HZ)], sampling)
    assert bool(np.all(parts.valid)) and bool(np.all(whole.valid))
    np.testing.assert_allclose(np.sum(parts.energy_j), whole.energy_j[0], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(np.sum(parts.charge_c), whole.charge_c[0], rtol=1e-9, atol=1e-15)


@settings(max_examples=200, deadline=None)
@given(
    gap=st.tuples(st.integers(1, 40), st.integers(1, 10)),
    window=st.tuples(st.floats(-3, 60), st.floats(0.01, 30)),
    as_nan=st.booleans(),
)
def test_a_window_is_valid_exactly_when_no_gap_touches_it(
    gap: tuple[int, int], window: tuple[float, float], as_nan: bool
) -> None:
    """A gap, or samples lost as NaN, between sample 0 and 55, in a trace of constant current."""
    first, last = gap[0], gap[0] + gap[1]
    current = np.full(55, 0.04)
    if as_nan:
        current[first:last] = np.nan
        chunks = [chunk(0, current)]
    else:
        chunks = [chunk(0, current[:first]), chunk(last, current[last:])]
    start, stop = window[0], window[0] + window[1]
    figures = integrate(chunks, [(start / RATE_HZ, stop / RATE_HZ)], "mean")
    overlap = min(stop, last) - max(start, first)
    outside = max(-start, stop - 55.0)
    if abs(overlap) < 1e-5 or abs(outside) < 1e-5:
        return  # on the edge itself, within what floating point can tell
    if overlap > 0 or outside > 0:
        assert not bool(figures.valid[0])
        assert math.isnan(figures.energy_j[0]) and math.isnan(figures.peak_a[0])
    else:
        assert bool(figures.valid[0])
        assert_near(float(figures.energy_j[0]), VOLTS * 0.04 * (stop - start) / RATE_HZ, 1e-6)


def test_point_samples_beside_a_gap_are_not_joined() -> None:
    ones = np.ones(5)
    chunks = [chunk(0, ones), chunk(6, ones)]  # sample 5 is missing: nothing known from 4 to 6
    windows = [(0.000, 0.004), (0.004, 0.006), (0.0035, 0.0045), (0.006, 0.010), (0.0, 0.010)]
    figures = integrate(chunks, windows, "point")
    assert figures.valid.tolist() == [True, False, False, True, False]


@settings(max_examples=150, deadline=None)
@given(
    spans=st.lists(st.tuples(st.floats(2.0, 9.0), st.floats(0, 0.1)), min_size=3, max_size=20),
)
def test_the_bound_covers_what_sampling_hides(spans: list[tuple[float, float]]) -> None:
    """Steady current in windows of two samples and more, edges anywhere between samples."""
    edges_s = np.concatenate([[0.0], np.cumsum([length for length, _ in spans])]) / RATE_HZ
    charge_c = np.concatenate(
        [[0.0], np.cumsum([length * current / RATE_HZ for length, current in spans])]
    )
    n = int(edges_s[-1] * RATE_HZ)
    samples = np.diff(np.interp(np.arange(n + 1) / RATE_HZ, edges_s, charge_c)) * RATE_HZ
    windows = list(pairwise(edges_s[:-1]))  # the last is cut short
    figures = integrate([chunk(0, samples)], windows, "mean")
    exact = VOLTS * np.diff(charge_c)[:-1]
    assert bool(np.all(figures.valid))
    assert bool(np.all(np.abs(figures.energy_j - exact) <= figures.uncertainty_j + 1e-12))


def test_the_bound_looks_across_the_border_of_chunks() -> None:
    # The stop cuts sample 3, which differs from the sample after it only; that is in chunk two.
    samples = np.array([1.0, 1.0, 1.0, 1.0, 0.2, 0.2])
    window = [(0.0, 0.0035)]
    whole = integrate([chunk(0, samples, 1.0)], window, "mean")
    split = integrate([chunk(0, samples[:4], 1.0), chunk(4, samples[4:], 1.0)], window, "mean")
    assert whole.uncertainty_j[0] == pytest.approx(0.5 * 0.8 * 1e-3)
    assert split.uncertainty_j[0] == whole.uncertainty_j[0]


def test_a_window_shorter_than_two_samples_says_that_it_is_coarse() -> None:
    samples = np.full(10, 0.05)
    figures = integrate([chunk(0, samples)], [(0.002, 0.0035), (0.002, 0.004)], "mean")
    assert figures.coarse.tolist() == [True, False]
    assert figures.uncertainty_j[0] >= figures.energy_j[0] > 0
    assert figures.uncertainty_j[1] == 0


def test_peak_is_of_the_samples_inside() -> None:
    samples = np.array([0.9, 0.1, 0.3, 0.2, 0.8])
    windows = [(0.0005, 0.0045), (0.001, 0.004), (0.0, 0.005), (0.0031, 0.0034)]
    figures = integrate([chunk(0, samples[:2]), chunk(2, samples[2:])], windows, "mean")
    np.testing.assert_array_equal(figures.peak_a, [0.3, 0.3, 0.9, 0.2])


def test_overlapping_and_unsorted_windows_keep_their_order() -> None:
    samples = np.arange(10.0)
    windows = [(0.006, 0.008), (0.0, 0.010), (0.001, 0.003)]
    figures = integrate([chunk(0, samples, 1.0)], windows, "mean")
    np.testing.assert_allclose(figures.energy_j, [0.013, 0.045, 0.003])


def test_samples_out_of_order_are_refused() -> None:
    integrator = WindowIntegrator(np.zeros(1), np.ones(1), rate_hz=1.0, sampling="mean")
    integrator.feed(chunk(5, np.ones(3)))
    with pytest.raises(TraceError, match="went back"):
        integrator.feed(chunk(7, np.ones(3)))


@pytest.mark.parametrize("times", [(1.0, 0.5), (math.nan, 1.0), (0.0, math.nan)])
def test_impossible_windows_are_refused(times: tuple[float, float]) -> None:
    with pytest.raises(TraceError, match="window"):
        integrate([], [times], "mean")


def test_no_windows_and_no_samples() -> None:
    assert len(integrate([chunk(0, np.ones(3))], [], "mean").energy_j) == 0
    assert integrate([], [(0.0, 1.0)], "point").valid.tolist() == [False]


def test_energy_saving() -> None:
    # The paper's fc cell at 32 px: .034 J of .106 J.
    assert energy_saving(0.106, 0.034) == Saving(*[pytest.approx(0.6792, abs=5e-5)] * 3)
    for full_j, block_j in ((0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, math.nan), (1.0, -1)):
        with pytest.raises(EnergyError):
            energy_saving(full_j, block_j)


def test_on_one_instrument_the_gain_cancels_in_the_saving_and_the_offset_does_not() -> None:
    full, block = EnergyValue(2.0, gain=0.1), EnergyValue(0.5, gain=0.1)
    assert energy_saving(full, block) == Saving(0.75, 0.75, 0.75)
    other = energy_saving(full, block, same_instrument=False)
    assert other.low == pytest.approx(1 - 0.55 / 1.8) and other.high == pytest.approx(
        1 - 0.45 / 2.2
    )
    full, block = EnergyValue(2.0, offset_j=0.2), EnergyValue(0.5, offset_j=0.1)
    saving = energy_saving(full, block)
    assert saving.low == pytest.approx(1 - 0.6 / 2.2) and saving.high == pytest.approx(
        1 - 0.4 / 1.8
    )
    huge = energy_saving(EnergyValue(1.0, offset_j=2.0), block)
    assert huge.low == -math.inf and huge.high <= 1.0


@settings(max_examples=200, deadline=None)
@given(
    full_j=st.floats(0.1, 10),
    share=st.floats(0, 1.5),
    gain=st.floats(0, 0.1),
    offset_w=st.floats(0, 0.01),
    independent=st.tuples(st.floats(0, 0.05), st.floats(0, 0.05)),
    signs=st.tuples(*[st.floats(-1, 1)] * 2),
)
def test_the_true_saving_lies_in_the_interval(
    full_j: float,
    share: float,
    gain: float,
    offset_w: float,
    independent: tuple[float, float],
    signs: tuple[float, float],
) -> None:
    """One instrument reads both: what it adds is gain times and offset plus, of one sign each."""
    times = (full_j * 10, full_j * share * 20)
    full, block = (
        EnergyValue(
            energy * (1 + signs[0] * gain) + signs[1] * offset_w * seconds,
            gain,
            offset_w * seconds,
            0.0,
            random,
        )
        for energy, seconds, random in zip(
            (full_j, full_j * share), times, independent, strict=True
        )
    )
    if full.energy_j <= 0 or block.energy_j < 0:
        return
    saving = energy_saving(full, block)
    assert saving.low - 1e-9 <= 1 - share <= saving.high + 1e-9 or saving.high == 1.0
    assert saving.low <= saving.value <= saving.high
