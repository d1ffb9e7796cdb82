"""A board at a port: what it is, its artifact, its samples, training, inference and weights.

    with Device.open("native://") as device:
        device.push_artifact(Path("model.tbfa").read_bytes())
        device.configure(seed=0)
        device.load_samples(images, labels)
        result = device.train_epoch(epoch_order(0, 0, len(images)), batch=8, lr=0.1)

Every error meant for people is a `HostError`. Leaving the `with` block leaves the board idle (unless
`leave_running` says otherwise).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import click
import numpy as np
from numpy.typing import NDArray

from host import device_checks as checks
from host.errors import HostError
from host.protocol import messages as m
from host.protocol import timing
from host.protocol.events import EventStream, OnPhase
from host.protocol.link import DeviceError, Link, Port
from host.protocol.training import UPDATE, epoch_requests, rate_pair
from host.transport import open_port

Images = NDArray[np.uint8]
Labels = NDArray[np.integer]
Progress = Callable[[int, int], None]
"""Called with what is done and the total (bytes or samples)."""
ARTIFACT_CHUNK_BYTES = 1008
INPUT_CHUNK_BYTES = 1016
_EVENTS, _RESET = 1, 2
_FOR_EVALUATION = 1


@dataclass(frozen=True)
class EpochResult:
    """Sums over the samples of an epoch: mean loss in nats and fraction right, both before each
    sample's own update; `skipped` samples had no error; `step` updates since the weights' reset."""

    loss: float
    accuracy: float
    samples: int
    skipped: int
    step: int


def _nothing(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


class Device:
    """A board that answered. Made by `Device.open`, or around any port with `Device(port, name)`."""

    def __init__(self, port: Port, name: str, *, time_scale: float = 1.0) -> None:
        """`name` is what messages call the port. Raises HostError where no board answers."""
        self.link = Link(port, name, time_scale=time_scale)
        self.link.on_log = self._tell
        self.name = name
        self.events: EventStream | None = None
        self.leave_running = False
        """Whether closing the port leaves the board at what it does (duty-cycled operation)."""
        self._step = 0
        self.link.end_noise()
        # A board left busy by a session that ended badly becomes idle first; what it says of its
        # version, Identify says better.
        with contextlib.suppress(DeviceError):
            self.link.request(m.Abort(), timing.HELLO)
        self.identity = self.identify()
        checks.check_protocol(self.identity, name)

    @classmethod
    def open(cls, url: str) -> Self:
        """Opens the port (`/dev/ttyUSB0`, `COM5`, `socket://…`, `native://`, `qemu://lx7`) and asks who is there.

        Raises HostError where the port cannot be opened, nothing answers, or the board speaks
        another protocol version.
        """
        port = open_port(url)
        try:
            return cls(port, url)
        except BaseException:
            port.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the board idle and closes the port; errors on the way are of no interest any more."""
        try:
            if not (self.link.dead or self.leave_running):
                with contextlib.suppress(HostError):
                    self.abort()
        finally:
            self.link.close()

    def _tell(self, log: m.Log) -> None:
        """A line of the board, for people: why it started, what failed."""
        click.echo(f"{self.name}: {log.text}", err=True)

    # ---- the board

    def identify(self) -> m.IdentifyResponse:
        """Asks again who is there; `identity` is the newest answer."""
        self.identity = self.link.request(m.Identify())
        return self.identity

    def board_status(self) -> m.BoardStatusResponse:
        """What the program takes of the board's memories, its stack among them; 0 where unknown."""
        return self.link.request(m.BoardStatus())

    def abort(self) -> None:
        """Makes the board idle, forgetting a batch in progress."""
        self.link.end_noise()
        self.link.request(m.Abort())

    def configure(
        self, seed: int, *, on_phase: OnPhase | None = None, reset_weights: bool = True
    ) -> None:
        """Starts a session: `seed` (32 bits) of the stochastic rounding, events to `on_phase`."""
        flags = (_EVENTS if on_phase else 0) | (_RESET if reset_weights else 0)
        self.events = EventStream(self.link, on_phase) if on_phase else None
        self._step = self.link.request(m.Configure(seed, flags)).step

    def complete_events(self) -> None:
        """Makes sure that every event so far has been delivered."""
        if self.events:
            self.events.complete(certain=True)

    # ---- artifact

    def push_artifact(self, data: bytes, progress: Progress = _nothing) -> None:
        """Puts an artifact on the board, going on where an upload was interrupted; loads it.

        Raises HostError where it does not fit the board, or the board finds fault with it.
        """
        checks.check_artifact(data, self.identity, self.name)
        digest = hashlib.sha256(data).digest()
        self.identity = replace(self.identity, load_code=1)  # until the new one is loaded
        at = self.link.request(m.ArtifactBegin(len(data), digest)).received
        progress(at, len(data))
        while at < len(data):
            chunk = data[at : at + ARTIFACT_CHUNK_BYTES]
            at = self.link.request(m.ArtifactChunk(at, chunk)).received
            progress(at, len(data))
        try:
            loaded = self.link.request(m.ArtifactEnd())
        finally:
            if not self.link.dead:
                self.identify()
        checks.check_model_hash(loaded.model_hash, data, self.name)

    def self_test(self) -> int:
        """Runs the artifact's test vectors on the board; returns their number."""
        return self.link.request(m.SelfTest()).vectors

    # ---- samples

    def upload(self, image: Images) -> None:
        """Sends one image, uint8 [H, W, C], as the input of the request to follow."""
        pixels = checks.pixels(image, self.identity, self.name)
        for at in range(0, len(pixels), INPUT_CHUNK_BYTES):
            self.link.request(m.InputChunk(at, pixels[at : at + INPUT_CHUNK_BYTES]))

    def load_samples(
        self,
        images: Images,
        labels: Labels,
        *,
        slots: Sequence[int] | None = None,
        evaluation: bool = False,
        progress: Progress = _nothing,
    ) -> None:
        """Runs the frozen layers on the images, uint8 [N, H, W, C], and keeps the results.

        `slots`: where to; 0 … N−1 unless given. `evaluation`: they are not for training, and their
        events say so.
        """
        chosen = range(len(images)) if slots is None else slots
        checks.check_slots(chosen, self.identity, self.name)
        flags = _FOR_EVALUATION if evaluation else 0
        for done, (slot, image, label) in enumerate(zip(chosen, images, labels, strict=True), 1):
            self.upload(image)
            self.link.request(m.CacheInput(int(slot), int(label), flags))
            self._fill_events()
            progress(done, len(images))

    # ---- training

    def train_epoch(
        self, order: Sequence[int], batch: int, lr: float, progress: Progress = _nothing
    ) -> EpochResult:
        """Trains on the slots `order` (length at least 1) in batches of `batch` samples; `lr` is for
        the mean gradient of a batch. In immediate mode every sample is a batch."""
        slots = [int(slot) for slot in order]
        batch = 1 if self.identity.update_mode == 1 else batch
        sums = _Sums()
        try:
            for request in epoch_requests(slots, batch, lr):
                base = sums.samples
                self.link.on_progress = lambda done, _t, base=base: progress(  # type: ignore[misc]
                    base + done, len(slots)
                )
                self._add(sums, self.link.request(request.message), request.batches)
                progress(sums.samples, len(slots))
        finally:
            self.link.on_progress = _nothing
        return sums.result(self._step)

    def train_epoch_resending(
        self,
        images: Images,
        labels: Labels,
        order: Sequence[int],
        batch: int,
        lr: float,
        progress: Progress = _nothing,
    ) -> EpochResult:
        """The same with fewer slots than images: each is sent and cached right before its turn."""
        batch = 1 if self.identity.update_mode == 1 else batch
        limit = min(m.MAX_SLOTS, self.identity.cache_slots)
        sums = _Sums()
        for request in epoch_requests([int(i) for i in order], batch, lr, limit):
            chosen = np.array(request.message.slots)
            self.load_samples(images[chosen], labels[chosen])
            message = replace(request.message, slots=tuple(range(len(chosen))))
            self._add(sums, self.link.request(message), request.batches)
            progress(sums.samples, len(order))
        return sums.result(self._step)

    def train_epoch_uncached(
        self,
        images: Images,
        labels: Labels,
        order: Sequence[int],
        batch: int,
        lr: float,
        progress: Progress = _nothing,
    ) -> EpochResult:
        """The same without the cache: every image is sent, and goes through the frozen layers."""
        sums = _Sums()
        batch = 1 if self.identity.update_mode == 1 else batch
        for start in range(0, len(order), batch):
            chosen = [int(i) for i in order[start : start + batch]]
            mantissa, exponent = rate_pair(lr / len(chosen))
            for number, index in enumerate(chosen, 1):
                self.upload(images[index])
                last = number == len(chosen)
                request = m.TrainInput(mantissa, exponent, int(labels[index]), UPDATE * last)
                self._add(sums, self.link.request(request), int(last))
                progress(sums.samples, len(order))
        return sums.result(self._step)

    def _add(
        self, sums: _Sums, answer: m.TrainResponse | m.TrainInputResponse, batches: int
    ) -> None:
        self._fill_events()
        self._step = checks.checked_step(self._step + batches, answer.step, self.name)
        sums.add(answer)

    def _fill_events(self) -> None:
        if self.events:
            self.events.complete()

    # ---- inference

    def infer(self, image: Images) -> NDArray[np.int8]:
        """Logits, int8 [classes], of one image, uint8 [H, W, C]."""
        self.upload(image)
        return np.frombuffer(self.link.request(m.InferInput()).logits, np.int8)

    def infer_slot(self, slot: int) -> NDArray[np.int8]:
        """Logits, int8 [classes], of a cached sample."""
        return np.frombuffer(self.link.request(m.InferSlot(slot)).logits, np.int8)

    def predict(self, images: Images, progress: Progress = _nothing) -> NDArray[np.int64]:
        """Classes, int64 [N], of images uint8 [N, H, W, C]: the first largest logit each."""
        found = np.empty(len(images), np.int64)
        for i, image in enumerate(images):
            found[i] = self.infer(image).argmax()
            self._fill_events()
            progress(i + 1, len(images))
        return found

    def predict_slots(
        self, slots: Sequence[int], progress: Progress = _nothing
    ) -> NDArray[np.int64]:
        """Classes, int64 [N], of cached samples."""
        found: list[int] = []
        for start in range(0, len(slots), m.MAX_SLOTS):
            chosen = tuple(int(slot) for slot in slots[start : start + m.MAX_SLOTS])
            found += self.link.request(m.Evaluate(chosen)).predictions
            self._fill_events()
            progress(len(found), len(slots))
        return np.array(found, np.int64)

    def evaluate(self, images: Images, labels: Labels, progress: Progress = _nothing) -> float:
        """Fraction of images, uint8 [N, H, W, C], that are classified as their labels say."""
        return float(np.mean(self.predict(images, progress) == labels))

    # ---- weights

    def tensor_table(self) -> tuple[m.TensorRecord, ...]:
        """The trained tensors in the order of their numbers."""
        found: tuple[m.TensorRecord, ...] = ()
        while len(found) < self.identity.trained_tensors:
            found += self.link.request(m.TensorTable(len(found))).tensors
        return found

    def read_weights(self, nodes: Sequence[str] | None = None) -> dict[str, NDArray[np.integer]]:
        """The trained tensors: `<node>.weight` int8 and `<node>.bias` int32, flat, in memory order.

        `nodes` are the names of the trained nodes in their order (the artifact's META has them);
        unless given they are `trained0`, `trained1`, … Raises HostError where what was read is not
        what the board says it has (SHA-256).
        """
        digest = hashlib.sha256()
        found: dict[str, NDArray[np.integer]] = {}
        for number, record in enumerate(self.tensor_table()):
            data = b"".join(
                self.link.request(
                    m.ReadWeights(number, at, min(m.BODY_LIMIT, record.bytes - at))
                ).data
                for at in range(0, record.bytes, m.BODY_LIMIT)
            )
            digest.update(data)
            if record.bytes:
                dtype: type[np.integer] = np.int32 if record.is_bias else np.int8
                found[checks.tensor_name(number, nodes)] = np.array(np.frombuffer(data, dtype))
        checks.check_weights(digest.digest(), self.weights_sha256(), self.name)
        return found

    def write_weights(
        self, tensors: Mapping[str, NDArray[np.integer]], nodes: Sequence[str] | None = None
    ) -> None:
        """Overwrites trained tensors, named as `read_weights` names them; the others stay."""
        left = dict(tensors)
        for number, record in enumerate(self.tensor_table()):
            array = left.pop(checks.tensor_name(number, nodes), None)
            if array is None:
                continue
            data = checks.tensor_bytes(array, record, checks.tensor_name(number, nodes))
            size = m.BODY_LIMIT - m.WriteWeights.fixed_bytes()
            size -= size % 4
            for at in range(0, len(data), size):
                self.link.request(m.WriteWeights(number, at, data[at : at + size]))
        if left:
            raise HostError(
                f"the board at {self.name} trains no tensor '{next(iter(left))}'; write the "
                "weights of the artifact that is on the board"
            )
        self._step = 0

    def weights_sha256(self) -> bytes:
        """SHA-256 over all trained tensors, computed by the board."""
        return self.link.request(m.WeightsHash()).sha256

    def commit(self) -> int:
        """Writes the trained weights to the board's flash; returns the bytes written."""
        written = self.link.request(m.Commit()).flash_bytes
        self._fill_events()
        return written


class _Sums:
    """Sums over the samples of an epoch."""

    def __init__(self) -> None:
        self.loss_q16 = self.samples = self.correct = self.skipped = 0

    def add(self, answer: m.TrainResponse | m.TrainInputResponse) -> None:
        self.loss_q16 += answer.loss_q16
        self.samples += answer.samples
        self.correct += answer.correct
        self.skipped += answer.skipped

    def result(self, step: int) -> EpochResult:
        count = max(1, self.samples)
        return EpochResult(
            self.loss_q16 / 65536 / count, self.correct / count, self.samples, self.skipped, step
        )
