"""A port that loses, damages, doubles and splits what goes through it, by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from host.protocol.link import Port


@dataclass(frozen=True)
class Faults:
    """Probability of each fault per byte, and whether reads are split into single bytes."""

    drop: float = 0.0
    damage: float = 0.0
    duplicate: float = 0.0
    noise: float = 0.0
    split: bool = False
    lose_frame: float = 0.0
    """Probability that a write (a whole frame) or a read is lost."""
    double_frame: float = 0.0
    """Probability that a write arrives twice."""


class FaultyPort:
    """Stands between a link and its port."""

    def __init__(self, port: Port, faults: Faults, seed: int = 0) -> None:
        self._port = port
        self._faults = faults
        self._random = random.Random(seed)
        self._pending = bytearray()
        self.faults_done = 0
        self.active = True

    @property
    def timeout(self) -> float | None:
        return self._port.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._port.timeout = value

    def close(self) -> None:
        self._port.close()

    def _hit(self, probability: float) -> bool:
        hit = self.active and self._random.random() < probability
        self.faults_done += hit
        return hit

    def _mangle(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if self._hit(self._faults.drop):
                continue
            if self._hit(self._faults.damage):
                byte ^= 1 << self._random.randrange(8)
            out.append(byte)
            if self._hit(self._faults.duplicate):
                out.append(byte)
            if self._hit(self._faults.noise):
                out.append(self._random.randrange(256))
        return bytes(out)

    def write(self, data: bytes) -> int:
        times = 1 - self._hit(self._faults.lose_frame) + self._hit(self._faults.double_frame)
        for _ in range(times):
            mangled = self._mangle(data)
            step = 1 if self._faults.split else len(mangled) or 1
            for at in range(0, len(mangled), step):
                self._port.write(mangled[at : at + step])
        return len(data)

    def read(self, size: int = 1) -> bytes:
        if not self._pending:
            data = self._port.read(size)
            if data and self._hit(self._faults.lose_frame):
                data = b""
            self._pending += self._mangle(data)
        count = 1 if self._faults.split else size
        out = bytes(self._pending[:count])
        del self._pending[:count]
        return out
