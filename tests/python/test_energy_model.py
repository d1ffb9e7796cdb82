"""The model: board descriptions, virtual time, and a trace that holds exactly its energy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy.board import Board, board_names, load_board, parse_board
from energy.errors import BoardError, EnergyError
from energy.probes import Found
from energy.probes.model import ModelProbe, fitting_rate
from energy.probes.registry import choose_probe, vendor_package
from energy.session import Phase, PhaseEvent
from energy.summary import integrate_windows
from energy.trace import TraceChunk
from energy.units import duration, si

BOARDS = Path(__file__).parents[2] / "energy" / "boards"
TERRACORDER = (BOARDS / "terracorder.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", board_names())
def test_every_number_of_a_board_has_a_source_or_a_reason(name: str) -> None:
    board = load_board(name)
    assert set(board.phases) == set(Phase)
    for quantity in board.quantities().values():
        assert len(quantity.source) > 20
        assert bool(quantity.reason) == quantity.assumed
        assert 0 < quantity.low <= quantity.value <= quantity.high


def test_the_boards_come_with_the_package() -> None:
    expected = {"terracorder", "esp32", "esp32c3", "stm32l4r5", "stm32h7a3", "raspberry-pi"}
    assert expected <= set(board_names())


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("value = 240e6", "value = -1", "clock_hz.value"),
        ("value = 240e6", "value = nan", "clock_hz.value"),
        ("value = 240e6", 'value = "fast"', "clock_hz.value"),
        ("value = 240e6", "value = true", "clock_hz.value"),
        ("value = 240e6\n", "", "clock_hz.value"),
        ("max = 1.6", "max = 0.9", "cost.cycles_per_instruction"),
        ("max = 1.6", "maximum = 1.6", "cost.cycles_per_instruction.maximum"),
        ("[clock_hz]", "[clock]", "clock"),
        (
            "[cost.instructions_per_update]",
            "[cost.instructions_per_updat]",
            "cost.instructions_per_updat",
        ),
        ('infer = "compute"', 'infer = "computing"', "phases.infer"),
        ('infer = "compute"', "", "phases.infer"),
        ('infer = "compute"', 'infer = "compute"\ndance = "compute"', "phases.dance"),
        ('name = "terracorder"', 'name = "esp32"', "esp32"),
        ("[supply_v]", "[supply_v", "TOML"),
        ('cpu = "lx7"', 'cpu = "z80"', "cpu.*z80"),
        ('title = "Terracorder', 'titel = "Terracorder', "titel"),
    ],
)
def test_a_wrong_description_is_refused_by_name(old: str, new: str, named: str) -> None:
    assert old in TERRACORDER
    with pytest.raises(BoardError, match=named):
        parse_board(TERRACORDER.replace(old, new, 1), "terracorder", "terracorder.toml")


def test_a_number_without_source_or_reason_is_refused() -> None:
    lines = TERRACORDER.splitlines()
    for key in ("source", "reason"):
        at = next(k for k, line in enumerate(lines) if line.startswith(f"{key} ="))
        text = "\n".join(lines[:at] + lines[at + 1 :])
        with pytest.raises(BoardError, match=key):
            parse_board(text, "terracorder", "terracorder.toml")


def test_unknown_boards_and_own_files(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"toaster.*terracorder"):
        load_board("toaster")
    with pytest.raises(BoardError, match=r"nothing\.toml"):
        load_board(str(tmp_path / "nothing.toml"))
    own = tmp_path / "mine.toml"
    own.write_text(TERRACORDER.replace('name = "terracorder"', 'name = "mine"'), encoding="utf-8")
    assert load_board(str(own)).name == "mine"


def test_work_becomes_time_and_energy_as_documented() -> None:
    board = load_board("terracorder")
    cost = {name: quantity.value for name, quantity in board.costs.items()}
    cpi = cost["cycles_per_instruction"]
    span = board.model(PhaseEvent(Phase.INFER, 0, 5, macs=240_000_000))
    duration_s = cost["instructions_per_mac_forward"] * cpi
    assert span.duration_s == pytest.approx(duration_s)
    assert span.energy_j == pytest.approx(duration_s * 0.0512 * 3.3)
    high = board.costs["cycles_per_instruction"].high
    assert span.energy_high_j >= duration_s * high / cpi * 0.0659 * 3.3 * (1 - 1e-9)
    span = board.model(
        PhaseEvent(Phase.COMMIT, 0, 5, elements=240_000, flash_bytes=1000, wire_bytes=1000)
    )
    element_s = cost["instructions_per_element_forward"] * cpi / 1000
    assert span.duration_s == pytest.approx(element_s + 20.2e-3 + 10.85e-3)
    assert span.current_a == 0.0712
    way = PhaseEvent(
        Phase.BACKWARD, 0, 5, 10**6, 30_000, updates=10_000, weight_macs=300_000, sums=7_000
    )
    instructions = 7e5 * cost["instructions_per_mac_backward"]
    instructions += 3e5 * cost["instructions_per_weight_mac_backward"]
    instructions += 7_000 * cost["instructions_per_sum_backward"]
    instructions += 20_000 * cost["instructions_per_element_backward"]
    instructions += 10_000 * cost["instructions_per_update"]
    assert board.instructions(way) == pytest.approx(instructions)


events_strategy = st.lists(
    st.builds(
        lambda phase, macs, elements, wire: PhaseEvent(
            phase, 0, 1, macs=macs, elements=elements, wire_bytes=wire
        ),
        st.sampled_from(list(Phase)),
        st.integers(0, 400_000),
        st.integers(0, 20_000),
        st.integers(0, 3000),
    ),
    min_size=1,
    max_size=40,
)


def trace_of(
    board: Board, events: list[PhaseEvent], rate_hz: float, most: int = 200_000
) -> ModelProbe:
    probe = ModelProbe(board, rate_hz, most)
    probe.open()
    probe.start()
    for event in events:
        probe.on_event(event)
    return probe


@settings(max_examples=60, deadline=None)
@given(events=events_strategy, rate_hz=st.sampled_from([7.0, 100.0, 1000.0, 12_345.0]))
def test_the_trace_holds_exactly_the_energy_of_the_spans(
    events: list[PhaseEvent], rate_hz: float
) -> None:
    board = load_board("terracorder")
    probe = trace_of(board, events, rate_hz)
    exact_j = float(np.sum(probe.windows.floats("energy_j")))
    info = probe.stop()
    chunks = list(probe.read())
    covered_s = sum(len(c) for c in chunks) / info.rate_hz
    assert probe.duration_s <= covered_s + 1e-9
    # Beyond its work the board idles to the end of the last sample.
    idle_j = (covered_s - probe.duration_s) * board.current(Phase.IDLE).value * 3.3
    got_j = sum(float(np.sum(c.current_a * c.voltage_v)) for c in chunks) / info.rate_hz
    assert got_j == pytest.approx(exact_j + idle_j, rel=1e-9, abs=1e-12)
    assert list(probe.read()) == []


@settings(max_examples=60, deadline=None)
@given(events=events_strategy)
def test_windows_integrate_to_their_energy_within_the_bound(events: list[PhaseEvent]) -> None:
    probe = trace_of(load_board("terracorder"), events, 1000.0)
    info = probe.stop()
    figures = integrate_windows(probe.windows, info, probe.read())
    exact = probe.windows.floats("energy_j")
    assert bool(np.all(figures.valid))
    resolved = ~figures.coarse
    error = np.abs(figures.energy_j - exact)[resolved]
    assert bool(np.all(error <= figures.uncertainty_j[resolved] + 1e-9))


def test_the_timeline_is_virtual_and_without_pauses() -> None:
    board = load_board("terracorder")
    events = [
        PhaseEvent(Phase.LOAD, 0, 10**9, wire_bytes=3072),
        PhaseEvent(Phase.INFER, 5 * 10**9, 5 * 10**9 + 3, macs=1_000_000),
        PhaseEvent(Phase.SLEEP, 6 * 10**9, 9 * 10**9),
    ]
    log = trace_of(board, events, 1000.0).windows
    np.testing.assert_array_equal(log.floats("stop_s")[:-1], log.floats("start_s")[1:])
    assert float(log.floats("stop_s")[-1]) == pytest.approx(
        0.03333 + board.seconds(events[1]), abs=1e-4
    )


def test_a_long_session_keeps_within_the_samples_allowed() -> None:
    board = load_board("esp32")
    event = PhaseEvent(Phase.BACKWARD, 0, 1, macs=100_000_000, sample=0, epoch=0)
    total_s = 3000 * board.seconds(event)
    most = int(4.3 * total_s)
    probe = trace_of(board, [event] * 3000, 1000.0, most=most)
    info = probe.stop()
    chunks: list[TraceChunk] = list(probe.read())
    assert probe.lowered and info.rate_hz == 2.0  # 4.3 S/s would fit
    assert abs(sum(len(c) for c in chunks) - 2.0 * total_s) <= 1.0 + 1e-6 * total_s
    trigger = np.concatenate([c.trigger for c in chunks])[: int(2.0 * total_s)]
    assert set(trigger.tolist()) == {int(Phase.BACKWARD)}


@settings(deadline=None)
@given(duration_s=st.floats(1e-6, 1e7), wanted=st.floats(1e-3, 1e6), most=st.integers(10, 10**7))
def test_the_fitting_rate_fits_and_is_not_needlessly_low(
    duration_s: float, wanted: float, most: int
) -> None:
    rate = fitting_rate(duration_s, wanted, most)
    assert rate <= wanted
    assert rate * duration_s <= most * (1 + 1e-9)
    assert rate == wanted or rate * duration_s >= most / 2.6


@pytest.mark.parametrize("rate", [0.0, -5.0, math.nan, math.inf])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(EnergyError, match="rate"):
        ModelProbe(load_board("esp32"), rate)


def test_the_model_is_never_chosen_behind_the_users_back() -> None:
    assert choose_probe("auto", "native://").name == "model"
    assert choose_probe("auto", "qemu://m4").name == "model"
    assert choose_probe("model", "/dev/ttyUSB0").name == "model"
    # Nothing plugged in: the sensor on the board, which says so where there is none.
    assert choose_probe("auto", "/dev/ttyUSB0", list).name == "ina"
    plugged = [Found("ppk2", "/dev/ttyACM0", "PPK2"), Found("lpm01a", "/dev/ttyACM1", "LPM01A")]
    choice = choose_probe("auto", "/dev/ttyUSB0", lambda: plugged)
    assert (choice.name, choice.address) == ("ppk2", "/dev/ttyACM0") and choice.found == (*plugged,)
    assert "PPK2 is plugged in" in choice.because
    choice = choose_probe("ppk2:/dev/ttyACM7", "native://")
    assert (choice.name, choice.address) == ("ppk2", "/dev/ttyACM7")
    with pytest.raises(EnergyError, match="no probe called 'toaster'"):
        choose_probe("toaster", "native://")


def test_a_missing_vendor_package_names_its_install() -> None:
    with pytest.raises(EnergyError, match=r"pip install -e '\.\[otii\]'"):
        vendor_package("no_such_package_here", "otii", "Qoitech Otii")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 J"),
        (1.0, "1.00 J"),
        (0.9996, "1.00 J"),
        (0.0424, "42.4 mJ"),
        (1399.0, "1.40 kJ"),
        (999.9, "1.00 kJ"),
        (3.2e-10, "0.32 nJ"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_units(value: float | None, text: str) -> None:
    assert si(value, "J") == text


def test_durations() -> None:
    assert [duration(s) for s in (0.5, 61.0, 100.0, 3599.6, 7260.0)] == [
        "500 ms",
        "61.0 s",
        "1 min 40 s",
        "1 h 00 min",
        "2 h 01 min",
    ]
