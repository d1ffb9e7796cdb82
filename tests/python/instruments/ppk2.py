"""An emulated PPK2: commands in, calibration text and sample words out, at its own pace."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.python.instruments.pty_port import PtyInstrument

RATE_HZ = 100_000
# Coefficients like those of a real one (docs/protocol-spec.md of tipoLi5890/ppk2lab has its shunts).
FACTS = {
    **{f"R{k}": r for k, r in enumerate((1000.625, 101.4608, 10.2309, 0.9629, 0.0559))},
    **{f"GS{k}": g for k, g in enumerate((0.0, 20.0, 3.0, 0.02, -0.01))},
    **{f"GI{k}": g for k, g in enumerate((1.0, 0.97, 0.96, 0.95, 0.94))},
    **{f"O{k}": o for k, o in enumerate((112.0, 98.0, 90.0, 81.0, 79.0))},
    **{f"S{k}": s for k, s in enumerate((-2e-8, 3e-8, 1e-8, 2e-7, 1e-6))},
    **{f"I{k}": i for k, i in enumerate((-1e-8, 1e-7, -1e-6, 2e-6, 3e-5))},
    **{f"UG{k}": 1.0 for k in range(5)},
}
TOP_A = (50e-6, 500e-6, 5e-3, 50e-3, 1.0)


def facts_text(vdd_mv: int, **changes: object) -> bytes:
    """The answer to 0x19."""
    facts = {"Calibrated": 0, **FACTS, "VDD": vdd_mv, "HW": 49625, "mode": 2, "IA": 59, **changes}
    return "".join(f"{key}: {value}\n" for key, value in facts.items()).encode() + b"END\n"


def encode(
    current_a: NDArray[np.float64],
    logic: NDArray[np.uint8] | int = 0,
    first: int = 0,
    voltage_v: float = 3.3,
    spans: NDArray[np.int64] | None = None,
) -> NDArray[np.uint32]:
    """Words uint32 (n,) for currents (n,) in A: range by size, ADC by solving the calibration."""
    span = np.minimum(np.searchsorted(TOP_A, current_a), 4) if spans is None else spans
    column = {
        name: np.array([FACTS[f"{name}{k}"] for k in range(5)])[span]
        for name in ("R", "GS", "GI", "O", "S", "I")
    }
    target = current_a - column["S"] * voltage_v - column["I"]
    x = target / column["GI"]
    for _ in range(20):
        x = target / (column["GI"] + column["GS"] * x)
    adc = np.rint((x * column["R"] * 163840 / 1.8 + column["O"]) / 4).astype(np.int64)
    adc = np.clip(adc, 0, 0x3FFF)
    counter = (first + np.arange(len(current_a))) % 64
    words = adc | (span << 14) | (counter << 18) | (np.asarray(logic, dtype=np.int64) << 24)
    return words.astype(np.uint32)


class EmulatedPpk2(PtyInstrument):
    """`wave(k)`: current in A and logic bits of samples k (int64, (n,)). `pace`: of its crystal.

    `drop`: sample numbers [first, stop) that never leave it; `vdd_mv`: what it sets instead of what
    it was asked for; `samples`: after so many it pauses.
    """

    def __init__(
        self,
        wave: Callable[[NDArray[np.int64]], tuple[NDArray[np.float64], NDArray[np.uint8]]],
        *,
        pace: float = 1.0,
        drop: tuple[int, int] = (0, 0),
        vdd_mv: int | None = None,
        samples: int = 1 << 40,
        facts: bytes | None = None,
    ) -> None:
        super().__init__()
        self.commands: list[bytes] = []
        self.sent = 0
        self._wave = wave
        self._pace, self._drop, self._limit = pace, drop, samples
        self._false_vdd, self._vdd = vdd_mv, 3000
        self._facts = facts
        self._began: float | None = None

    def received(self, data: bytes) -> None:
        """One command after another, each with its arguments."""
        while data:
            size = {0x0D: 3, 0x0C: 2, 0x11: 2}.get(data[0], 1)
            command, data = data[:size], data[size:]
            self.commands.append(command)
            if command[0] == 0x06:
                self._began, self.sent = time.monotonic(), 0
            elif command[0] == 0x07:
                self._began = None
            elif command[0] == 0x0D:
                self._vdd = self._false_vdd or int.from_bytes(command[1:], "big")
            elif command[0] == 0x19:
                self.send(self._facts if self._facts is not None else facts_text(self._vdd))

    def tick(self) -> None:
        """Sends what is due."""
        if self._began is None:
            return
        due = int((time.monotonic() - self._began) * RATE_HZ * self._pace)
        numbers = np.arange(self.sent, min(due, self._limit), dtype=np.int64)
        if len(numbers) == 0:
            return
        current, logic = self._wave(numbers)
        words = encode(current, logic, int(numbers[0]), self._vdd / 1000)
        kept = (numbers < self._drop[0]) | (numbers >= self._drop[1])
        self.send(words[kept].astype("<u4").tobytes())
        self.sent = int(numbers[-1]) + 1
