"""A board on duty through its C interface (tests/firmware/capi/duty_capi.cc): replayed samples, virtual time, and one
flash whose power can be cut. Calls that fail raise ``RuntimeFault``."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tests.python.runtime_board import RuntimeFault, library

STOPPED, RUNNING, PAUSED = range(3)
KINDS = (
    "", "started", "woke", "sample", "label", "skipped", "tuning", "tuned", "committed", "dropped",
    "failed", "stopped",
)  # fmt: skip
NO_LABEL = 0xFFFF
_PACKED = (
    *("load", "schedule", "read_schedule", "boot", "start", "resume", "stop", "open", "label"),
    *("read_sample", "weights_sha256", "commit"),
)


@dataclass(frozen=True)
class Geometry:
    """Sizes of a board, in bytes but for ``index`` and ``items``. ``erase`` divides the three areas of the flash."""

    weights: int = 8192
    schedule: int = 1024
    store: int = 16384
    erase: int = 512
    program: int = 16
    cache: int = 1 << 16
    replay: int = 1 << 16
    index: int = 64
    items: int = 64

    @property
    def flash(self) -> int:
        """Size of the whole flash."""
        return self.weights + self.schedule + self.store

    @property
    def store_at(self) -> int:
        """Where the sample store begins."""
        return self.weights + self.schedule


@dataclass(frozen=True)
class Status:
    """What the board says of itself."""

    mode: int
    tuning: int
    time_s: int
    next_s: int
    wakes: int
    samples: int
    labels: int
    right: int
    tunings: int
    used_labels: int
    stored: int
    capacity: int
    unlabelled: int
    new_labelled: int
    damaged: int
    skipped: int
    failures: int
    last_failure: int
    checkpoint: int
    battery_mv: int
    battery_percent: int
    step: int


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    kind: str
    entry: int
    code: int
    time_s: int
    id: int
    value: int


@cache
def _library() -> ctypes.CDLL:
    lib = library()
    lib.tbft_duty_new.restype = ctypes.c_void_p
    lib.tbft_duty_flash_bytes.restype = ctypes.c_void_p
    lib.tbft_duty_text.restype = ctypes.c_size_t
    lib.tbft_duty_shuffle_place.restype = ctypes.c_uint32
    for name in _PACKED:
        getattr(lib, f"tbft_duty_{name}").restype = ctypes.c_uint64
    return lib


def _u32(*values: int) -> list[ctypes.c_uint32]:
    return [ctypes.c_uint32(value) for value in values]


class DutyBoard:
    """One board, fresh from reset."""

    def __init__(self, geometry: Geometry = Geometry(), flash: bytes | None = None) -> None:
        self.lib = _library()
        self.geometry = g = geometry
        fields = (
            g.weights,
            g.schedule,
            g.store,
            g.erase,
            g.program,
            g.cache,
            g.replay,
            g.index,
            g.items,
        )
        numbers = (ctypes.c_uint32 * len(fields))(*fields)
        self.handle = ctypes.c_void_p(self.lib.tbft_duty_new(numbers))
        if flash is not None:
            self.set_flash(flash)

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.lib.tbft_duty_free(self.handle)

    def call(self, name: str, *arguments: object) -> None:
        """Call ``tbft_duty_<name>``; raises RuntimeFault unless it returns ok."""
        packed = getattr(self.lib, f"tbft_duty_{name}")(self.handle, *arguments)
        if packed:
            text = self.lib.tbft_status_text(ctypes.c_uint32(packed & 0xFFFFFFFF)).decode()
            raise RuntimeFault(packed, text)

    # ---- operation

    def load(self, artifact: bytes) -> None:
        """Load an artifact and the weights that flash holds."""
        self.call("load", artifact, ctypes.c_size_t(len(artifact)))

    def write_schedule(self, entries: bytes, listen_ms: int = 0) -> None:
        """Keep a schedule, 40 bytes per entry."""
        self.call("schedule", entries, ctypes.c_size_t(len(entries)), *_u32(listen_ms))

    def read_schedule(self) -> tuple[list[int], bytes]:
        """Running, start, until, seed, listen, entries, sequence; and the entries' bytes."""
        numbers, entries = (ctypes.c_uint32 * 7)(), ctypes.create_string_buffer(8 * 40)
        self.call("read_schedule", numbers, entries)
        return list(numbers), entries.raw[: 40 * numbers[5]]

    def read_or_none(self) -> tuple[list[int], bytes] | None:
        """The same; None where there is none."""
        try:
            return self.read_schedule()
        except RuntimeFault as fault:
            assert fault.name == "no_schedule", fault
            return None

    def load_again(self) -> None:
        """The initial weights, then those that flash holds."""
        self.lib.tbft_duty_reload(self.handle)

    def boot(self) -> None:
        """Go on where flash says so."""
        self.call("boot")

    def start(
        self, time_s: int = 0, until_s: int = 0, seed: int = 1, *, empty: bool = False
    ) -> None:
        """Begin duty."""
        self.call("start", *_u32(time_s, until_s, seed, int(empty)))

    def resume(self) -> None:
        """Go on after a pause."""
        self.call("resume")

    def pause(self) -> None:
        """Pause."""
        self.lib.tbft_duty_pause(self.handle)

    def stop(self) -> None:
        """End duty."""
        self.call("stop")

    def open(self) -> None:
        """Read the sample store."""
        self.call("open")

    def label(self, sample: int, label: int) -> None:
        """A label from elsewhere."""
        self.call("label", *_u32(sample, label))

    def run(self, limit: int = 1_000_000) -> int:
        """Step as long as it is on duty and has power; returns the steps done."""
        return int(self.lib.tbft_duty_run(self.handle, *_u32(limit)))

    @property
    def wait_ms(self) -> int:
        """How long it listens before the next step."""
        return int(self.lib.tbft_duty_wait_ms(self.handle))

    # ---- what is replayed

    def put_samples(
        self, images: NDArray[np.int8], labels: NDArray[np.int64], delay_s: int
    ) -> None:
        """Samples to take, in turn."""
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            flat = np.ascontiguousarray(image).reshape(-1)
            arguments = _u32(len(flat), int(label), delay_s)
            pointer = ctypes.c_void_p(flat.ctypes.data)
            assert self.lib.tbft_duty_put_sample(self.handle, *_u32(index), pointer, *arguments)

    def put_battery(self, *points: tuple[int, int, int]) -> None:
        """Time in s, mV, percent."""
        for index, point in enumerate(points):
            assert self.lib.tbft_duty_put_battery(self.handle, *_u32(index, *point))

    def break_sensor(self, broken: bool) -> None:
        """From now on the sensor gives nothing."""
        self.lib.tbft_duty_break_sensor(self.handle, *_u32(int(broken)))

    # ---- what there is

    def status(self) -> Status:
        """All numbers."""
        numbers = (ctypes.c_uint32 * 22)()
        self.lib.tbft_duty_status(self.handle, numbers)
        return Status(*numbers)

    def samples(self) -> list[tuple[int, ...]]:
        """Id, time, prediction, label, label number of each stored sample, oldest first."""
        out = np.zeros((self.geometry.index, 5), np.uint32)
        count = self.lib.tbft_duty_samples(self.handle, ctypes.c_void_p(out.ctypes.data))
        return [tuple(map(int, row)) for row in out[:count]]

    def read_sample(self, sample: int, size: int) -> NDArray[np.int8]:
        """Bytes of a stored sample."""
        out = np.zeros(size, np.int8)
        self.call(
            "read_sample", *_u32(sample), ctypes.c_void_p(out.ctypes.data), ctypes.c_size_t(size)
        )
        return out

    def events(self) -> list[Event]:
        """What happened since the last call."""
        out = np.zeros((100_000, 6), np.uint32)
        pointer = ctypes.c_void_p(out.ctypes.data)
        count = self.lib.tbft_duty_events(self.handle, pointer, *_u32(len(out)))
        return [Event(KINDS[row[0]], *map(int, row[1:])) for row in out[:count]]

    def text(self) -> str:
        """What was said to people since the last call."""
        out = ctypes.create_string_buffer(1 << 16)
        count = self.lib.tbft_duty_text(self.handle, out, ctypes.c_size_t(len(out)))
        return out.raw[:count].decode()

    def phases(self) -> list[int]:
        """How often each phase was entered."""
        out = (ctypes.c_uint32 * 9)()
        assert self.lib.tbft_duty_phases(self.handle, out) == 0, "phases nested"
        return list(out)

    def commit(self) -> None:
        """Write the weights to flash."""
        self.call("commit")

    def weights(self) -> str:
        """Weight hash, hexadecimal."""
        out = (ctypes.c_uint8 * 32)()
        self.call("weights_sha256", out)
        return bytes(out).hex()

    # ---- flash

    def cut_power(self, operation: int, how: int) -> None:
        """Power fails at the n-th flash operation from now; 0: it is back."""
        self.lib.tbft_duty_flash_cut(self.handle, *_u32(operation, how))

    @property
    def powered(self) -> bool:
        """Whether the power is still there."""
        return bool(self.lib.tbft_duty_powered(self.handle))

    @property
    def operations(self) -> int:
        """Flash operations since cut_power."""
        return int(self.lib.tbft_duty_operations(self.handle))

    def fail_flash(self, kinds: int) -> None:
        """Failing operations: 1 erase, 2 program, 4 read, 8 silently not programmed."""
        self.lib.tbft_duty_flash_fail(self.handle, *_u32(kinds))

    def make_unreadable(self, offset: int, size: int) -> None:
        """Reads of these erase blocks fail, each until it is erased; size 0: all can be read again."""
        self.lib.tbft_duty_unreadable(self.handle, *_u32(offset, size))

    def unreadable(self, offset: int) -> bool:
        """Whether the erase block there still cannot be read."""
        return bool(self.lib.tbft_duty_is_unreadable(self.handle, *_u32(offset)))

    def flash(self) -> bytes:
        """Copy of the flash."""
        return ctypes.string_at(self.lib.tbft_duty_flash_bytes(self.handle), self.geometry.flash)

    def set_flash(self, data: bytes) -> None:
        """Overwrite the flash from its start."""
        assert len(data) <= self.geometry.flash
        ctypes.memmove(self.lib.tbft_duty_flash_bytes(self.handle), data, len(data))
