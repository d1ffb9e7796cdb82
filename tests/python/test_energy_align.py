"""Board clock against trace clock: true window edges within the bound that is reported."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy.align import EdgeCollector, Edges, align_by_trigger, board_times, fit_clock
from energy.clock import Alignment, ClockMap, Floats, Ints, unwrap_us
from energy.errors import AlignmentError
from energy.samples import Sampling, TraceChunk
from energy.session import Phase, PhaseEvent

STEP = (Phase.LOAD, Phase.FROZEN_FORWARD, Phase.TRAIN_FORWARD, Phase.BACKWARD)


@dataclass(frozen=True)
class Scene:
    """A session on the pins of a board and in a trace. Times in s, drift relative."""

    seed: int
    steps: int = 40
    rate_hz: float = 20_000.0
    sampling: Sampling = "point"
    drift: float = 0.0
    offset_s: float = 0.731
    phase: float = 0.0  # of the sampling, in samples
    jitter_s: float = 5e-6
    lose: float = 0.0  # share of phases that never reach the pins
    forget: float = 0.0  # share of phases the board did not report
    invent: int = 0  # pulses of somebody else
    regular: bool = False
    lines: int = 4
    first_us: int = 4_290_000_000  # a few seconds before the 32-bit clock wraps
    wander: float = 0.0  # change of the drift over the session


def spans(scene: Scene) -> list[tuple[Phase, float, float]]:
    rng = np.random.default_rng(scene.seed)
    at, made = 0.0, []
    for step in range(scene.steps):
        phases = [*STEP, Phase.UPDATE] if step % 8 == 7 else list(STEP)
        for phase in phases:
            length = {Phase.LOAD: 1.5e-3, Phase.UPDATE: 0.6e-3}.get(phase, 4e-3 + 1e-3 * phase)
            if not scene.regular:
                length *= float(rng.uniform(0.7, 1.3))
            made.append((phase, at, at + length))
            at += length + (2e-4 if scene.regular else float(rng.uniform(3e-6, 8e-4)))
    return made


def clock(scene: Scene, board_s: Floats) -> Floats:
    """The true map."""
    total = 1.0
    bend = 0.5 * scene.wander * board_s**2 / total
    return np.asarray(scene.offset_s + (1 + scene.drift) * board_s + bend)


def play(scene: Scene) -> tuple[list[PhaseEvent], Edges, Floats, Floats]:
    """Events as reported, edges as sampled, and the true trace times of the events' edges."""
    rng = np.random.default_rng(scene.seed + 1)
    made = spans(scene)
    times = np.array([[start, stop] for _, start, stop in made])
    true = clock(scene, times.ravel()).reshape(-1, 2)
    pins: list[tuple[float, int]] = []
    for (phase, _, _), (start, stop) in zip(made, true, strict=True):
        if phase is Phase.LOAD or rng.random() < scene.lose:
            continue
        late = rng.uniform(0, scene.jitter_s, 2)
        pins += [(start + late[0], int(phase)), (stop + late[1], 0)]
    end = float(true[-1, 1]) + 0.5
    for _ in range(scene.invent):
        at = float(rng.uniform(0, end))
        pins += [(at, int(rng.integers(1, 7))), (at + 1e-3, 0)]
    pins.sort()
    count = int(end * scene.rate_hz)
    shift = 0.5 if scene.sampling == "mean" else 0.0
    instants = (
        np.arange(count) + (scene.phase if scene.sampling == "mean" else 0.0)
    ) / scene.rate_hz
    assert shift >= 0
    values = np.concatenate([[0], [value for _, value in pins]]).astype(np.uint8)
    at_pin = np.searchsorted([t for t, _ in pins], instants, side="right")
    trigger = values[at_pin] & np.uint8((1 << scene.lines) - 1)
    collector = EdgeCollector()
    zeros = np.zeros(count)
    for first in range(0, count, 997):
        part = slice(first, first + 997)
        collector.feed(TraceChunk(first, zeros[part], zeros[part], trigger[part]))
    keep = rng.random(len(made)) >= scene.forget
    keep[0] = True
    events = [
        PhaseEvent(
            phase,
            (scene.first_us + round(start * 1e6)) % (1 << 32),
            (scene.first_us + round(stop * 1e6)) % (1 << 32),
        )
        for (phase, start, stop), kept in zip(made, keep, strict=True)
        if kept
    ]
    return events, collector.finish(), true[keep, 0], true[keep, 1]


def align(
    events: list[PhaseEvent],
    edges: Edges,
    rate_hz: float,
    sampling: Sampling,
    near_s: tuple[float, float] | None = None,
) -> Alignment:
    phases = np.array([int(event.phase) for event in events], dtype=np.int64)
    return align_by_trigger(
        phases, *clocks(events), edges, rate_hz=rate_hz, sampling=sampling, near_s=near_s
    )


def clocks(events: list[PhaseEvent]) -> tuple[Ints, Ints]:
    start = np.array([event.t_start_us for event in events], dtype=np.int64)
    return start, np.array([event.t_stop_us for event in events], dtype=np.int64)


def errors(alignment: Alignment, events: list[PhaseEvent], start: Floats, stop: Floats) -> Floats:
    start_s, stop_s = board_times(*clocks(events))
    mapped = alignment.clock(np.concatenate([start_s, stop_s]))
    return np.asarray(np.abs(mapped - np.concatenate([start, stop])))


def check(scene: Scene, near_s: tuple[float, float] | None = None) -> Alignment:
    events, edges, start, stop = play(scene)
    alignment = align(events, edges, scene.rate_hz, scene.sampling, near_s)
    start_s, stop_s = board_times(*clocks(events))
    bound = alignment.error_at(np.concatenate([start_s, stop_s]))
    off = errors(alignment, events, start, stop)
    assert bool(np.all(off <= bound)), f"{off.max()} beyond {bound[np.argmax(off)]}"
    return alignment


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    drift=st.floats(-200e-6, 200e-6),
    offset=st.floats(0.01, 3.0),
    phase=st.floats(0, 1, exclude_max=True),
    jitter=st.floats(0, 20e-6),
    lose=st.floats(0, 0.15),
    forget=st.floats(0, 0.1),
    invent=st.integers(0, 12),
    rate=st.sampled_from([4_000.0, 10_000.0, 100_000.0]),
    sampling=st.sampled_from(["mean", "point"]),
)
def test_window_edges_lie_within_the_reported_bound(
    seed: int,
    drift: float,
    offset: float,
    phase: float,
    jitter: float,
    lose: float,
    forget: float,
    invent: int,
    rate: float,
    sampling: Sampling,
) -> None:
    scene = Scene(
        seed,
        rate_hz=rate,
        sampling=sampling,
        drift=drift,
        offset_s=offset,
        phase=phase,
        jitter_s=jitter,
        lose=lose,
        forget=forget,
        invent=invent,
    )
    alignment = check(scene)
    # A bound that says nothing would hold too.
    assert alignment.ambiguous_s == 0.0
    assert alignment.error_s <= 4 * (1.0 / rate + 20e-6)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    drift=st.floats(-200e-6, 200e-6),
    phase=st.floats(0, 1, exclude_max=True),
    steps=st.integers(10, 120),
)
def test_steps_that_repeat_exactly_are_not_mistaken_for_each_other(
    seed: int, drift: float, phase: float, steps: int
) -> None:
    scene = Scene(seed, steps=steps, regular=True, drift=drift, phase=phase, sampling="mean")
    alignment = check(scene)
    assert alignment.ambiguous_s == 0.0 and alignment.error_s < 3 / scene.rate_hz


def test_where_a_shift_by_one_step_cannot_be_excluded_the_error_says_so() -> None:
    # All steps alike, and some lost at random: the shifted alignment explains nearly as much.
    scene = Scene(3, steps=7, regular=True, lose=0.4, jitter_s=0.0)
    events, edges, start, stop = play(scene)
    alignment = align(events, edges, scene.rate_hz, "point")
    assert bool(np.all(errors(alignment, events, start, stop) <= alignment.error_s))


def test_a_drift_that_changes_is_followed() -> None:
    # 40 s with the drift going from 0 to 60 ppm: a straight line would be 0.3 ms off.
    scene = Scene(5, steps=1800, rate_hz=20_000.0, wander=1.5e-6, drift=20e-6)
    alignment = check(scene)
    assert len(alignment.clock.board_s) > 2
    assert alignment.error_s < 3e-4


def test_few_lines_are_enough_and_one_that_is_not_connected_does_no_harm() -> None:
    for lines in (2, 3):
        alignment = check(Scene(7, lines=lines))
        assert alignment.matched > 60


def test_drift_is_reported() -> None:
    alignment = check(Scene(8, steps=400, drift=-150e-6, rate_hz=100_000.0))
    assert alignment.drift_ppm == pytest.approx(-150, abs=3)
    facts = alignment.facts()
    assert facts["method"] == "trigger" and facts["error_is_bound"] is True


def test_what_does_not_belong_together_is_refused() -> None:
    events, _, _, _ = play(Scene(9))
    for other in (10, 11, 12):
        _, edges, _, _ = play(Scene(other, steps=45))
        with pytest.raises(AlignmentError, match="do not belong together"):
            align(events, edges, 20_000.0, "point")


def test_no_edges_and_no_phases_are_named() -> None:
    events, edges, _, _ = play(Scene(9))
    none = Edges(edges.index[:0], edges.before[:0], edges.after[:0])
    with pytest.raises(AlignmentError, match="no edge on its trigger lines"):
        align(events, none, 1000.0, "point")
    with pytest.raises(AlignmentError, match="expected 4 edges"):
        align(events[:1], edges, 1000.0, "point")


def test_swapped_lines_are_refused() -> None:
    scene = Scene(13)
    events, edges, _, _ = play(scene)
    flip = np.array([int(f"{v:04b}"[::-1], 2) for v in range(16)], dtype=np.uint8)
    swapped = replace(edges, before=flip[edges.before], after=flip[edges.after])
    with pytest.raises(AlignmentError, match="another order"):
        align(events, swapped, scene.rate_hz, "point")


def test_a_gap_hides_edges_and_invents_none() -> None:
    collector = EdgeCollector()
    zeros = np.zeros(4)
    collector.feed(TraceChunk(0, zeros, zeros, np.array([0, 2, 2, 2], dtype=np.uint8)))
    collector.feed(TraceChunk(9, zeros, zeros, np.array([3, 3, 0, 0], dtype=np.uint8)))
    edges = collector.finish()
    assert edges.index.tolist() == [1, 11]
    assert edges.before.tolist() == [0, 3] and edges.after.tolist() == [2, 0]


@given(
    steps=st.lists(st.integers(0, 4_000_000_000), min_size=1, max_size=20),
    first=st.integers(0, (1 << 32) - 1),
)
def test_unwrapping_restores_the_board_clock(steps: list[int], first: int) -> None:
    true = first + np.cumsum(np.array(steps, dtype=np.int64))
    np.testing.assert_array_equal(unwrap_us(true % (1 << 32)) - true[0] % (1 << 32), true - true[0])
    np.testing.assert_array_equal(unwrap_us(true), true)


def test_clock_map_goes_on_beyond_its_knots() -> None:
    clock_map = ClockMap(np.array([0.0, 1.0, 2.0]), np.array([5.0, 6.0, 8.0]))
    np.testing.assert_allclose(clock_map(np.array([-1.0, 0.5, 3.0])), [4.0, 5.5, 10.0])
    with pytest.raises(AlignmentError, match="forwards"):
        ClockMap(np.array([0.0, 1.0]), np.array([1.0, 0.5]))
    line = fit_clock(np.array([3.0, 3.0]), np.array([7.0, 7.0]), 1e-3)
    assert float(line(np.array([4.0]))[0]) == pytest.approx(8.0)
