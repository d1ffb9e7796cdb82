"""The messages of the wire protocol. Generated from host/protocol/messages.toml by `python -m host.protocol.generate`; do not edit."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from host.protocol.codec import Message, Record, Request

PROTOCOL_VERSION = 1
BODY_LIMIT = 1024
"""Longest body, in bytes."""
MAX_SLOTS = 64
"""Slots in one request."""


class WireStatus(IntEnum):
    """Status codes of the protocol; those below 128 are the runtime's."""

    UNKNOWN_REQUEST = 128
    BAD_BODY = 129
    BUSY = 130
    ABORTED = 131
    WRONG_VERSION = 132
    INCOMPLETE_INPUT = 133
    ARTIFACT_TOO_LARGE = 134
    ARTIFACT_ORDER = 135
    ARTIFACT_HASH = 136
    NO_FLASH = 137
    STORE_FAILED = 138
    TOO_MANY_SLOTS = 139
    INPUT_TOO_LARGE = 140
    BODY_TOO_LONG = 141


@dataclass(frozen=True, slots=True)
class PhaseRecord(Record):
    """One completed phase."""

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("phase", "B"), ("index", "B"), ("sequence", "H"), ("start_us", "I"), ("stop_us", "I"), ("macs", "Q"), ("elements", "I"), ("updates", "I"), ("flash_bytes", "I"), ("wire_bytes", "I"))
    phase: int
    index: int
    sequence: int
    start_us: int
    stop_us: int
    macs: int
    elements: int
    updates: int
    flash_bytes: int
    wire_bytes: int


@dataclass(frozen=True, slots=True)
class TensorRecord(Record):
    """One trained tensor."""

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("kind", "B"), ("is_bias", "B"), ("block", "H"), ("rows", "I"), ("row_length", "I"), ("bytes", "I"))
    kind: int
    is_bias: int
    block: int
    rows: int
    row_length: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Progress(Message):
    """A long request is still being executed; restarts the host's timeout."""

    TYPE: ClassVar[int] = 0x70
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("done", "I"), ("total", "I"))
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Log(Message):
    """A line for people."""

    TYPE: ClassVar[int] = 0x71
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("level", "B"), ("text", "text"))
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Events(Message):
    """Completed phases, sent before the response of the request they belong to when configured so."""

    TYPE: ClassVar[int] = 0x72
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("first", "I"), ("events", PhaseRecord))
    first: int
    events: tuple[PhaseRecord, ...]


@dataclass(frozen=True, slots=True)
class Damaged(Message):
    """A frame arrived that does not decode; the host sends its request again at once."""

    TYPE: ClassVar[int] = 0x73
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("reason", "B"),)
    reason: int


@dataclass(frozen=True, slots=True)
class Error(Message):
    """The request was not executed, or failed."""

    TYPE: ClassVar[int] = 0xff
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("code", "H"), ("record", "I"), ("text", "text"))
    code: int
    record: int
    text: str


@dataclass(frozen=True, slots=True)
class IdentifyResponse(Message):
    """Answers Identify."""

    TYPE: ClassVar[int] = 0x81
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("protocol_version", "H"), ("load_code", "H"), ("load_record", "I"), ("board", "text32"), ("firmware", "text32"), ("model_hash", "32s"), ("clock_hz", "I"), ("arena_limit_bytes", "I"), ("arena_bytes", "I"), ("persistent_bytes", "I"), ("artifact_limit_bytes", "I"), ("artifact_bytes", "I"), ("input_limit_bytes", "I"), ("input_bytes", "I"), ("input_height", "H"), ("input_width", "H"), ("input_channels", "H"), ("classes", "H"), ("cache_slots", "I"), ("cached_sample_bytes", "I"), ("trained_tensors", "H"), ("update_mode", "B"), ("flags", "B"), ("trained_bytes", "I"), ("step", "I"), ("event_limit", "I"), ("body_limit", "H"))
    protocol_version: int
    load_code: int
    load_record: int
    board: str
    firmware: str
    model_hash: bytes
    clock_hz: int
    arena_limit_bytes: int
    arena_bytes: int
    persistent_bytes: int
    artifact_limit_bytes: int
    artifact_bytes: int
    input_limit_bytes: int
    input_bytes: int
    input_height: int
    input_width: int
    input_channels: int
    classes: int
    cache_slots: int
    cached_sample_bytes: int
    trained_tensors: int
    update_mode: int
    flags: int
    trained_bytes: int
    step: int
    event_limit: int
    body_limit: int


@dataclass(frozen=True, slots=True)
class AbortResponse(Message):
    """Answers Abort."""

    TYPE: ClassVar[int] = 0x82
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()


@dataclass(frozen=True, slots=True)
class ConfigureResponse(Message):
    """Answers Configure."""

    TYPE: ClassVar[int] = 0x83
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("step", "I"),)
    step: int


@dataclass(frozen=True, slots=True)
class ArtifactBeginResponse(Message):
    """Answers ArtifactBegin."""

    TYPE: ClassVar[int] = 0x90
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("received", "I"),)
    received: int


@dataclass(frozen=True, slots=True)
class ArtifactChunkResponse(Message):
    """Answers ArtifactChunk."""

    TYPE: ClassVar[int] = 0x91
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("received", "I"),)
    received: int


@dataclass(frozen=True, slots=True)
class ArtifactEndResponse(Message):
    """Answers ArtifactEnd."""

    TYPE: ClassVar[int] = 0x92
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("model_hash", "32s"),)
    model_hash: bytes


@dataclass(frozen=True, slots=True)
class SelfTestResponse(Message):
    """Answers SelfTest."""

    TYPE: ClassVar[int] = 0x93
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("vectors", "I"),)
    vectors: int


@dataclass(frozen=True, slots=True)
class InputChunkResponse(Message):
    """Answers InputChunk."""

    TYPE: ClassVar[int] = 0xa0
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("received", "I"),)
    received: int


@dataclass(frozen=True, slots=True)
class CacheInputResponse(Message):
    """Answers CacheInput."""

    TYPE: ClassVar[int] = 0xa1
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()


@dataclass(frozen=True, slots=True)
class TrainResponse(Message):
    """Answers Train."""

    TYPE: ClassVar[int] = 0xa2
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("loss_q16", "Q"), ("samples", "I"), ("correct", "I"), ("skipped", "I"), ("step", "I"))
    loss_q16: int
    samples: int
    correct: int
    skipped: int
    step: int


@dataclass(frozen=True, slots=True)
class TrainInputResponse(Message):
    """Answers TrainInput."""

    TYPE: ClassVar[int] = 0xa3
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("loss_q16", "Q"), ("samples", "I"), ("correct", "I"), ("skipped", "I"), ("step", "I"))
    loss_q16: int
    samples: int
    correct: int
    skipped: int
    step: int


@dataclass(frozen=True, slots=True)
class InferInputResponse(Message):
    """Answers InferInput."""

    TYPE: ClassVar[int] = 0xa4
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("logits", "rest"),)
    logits: bytes


@dataclass(frozen=True, slots=True)
class InferSlotResponse(Message):
    """Answers InferSlot."""

    TYPE: ClassVar[int] = 0xa5
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("logits", "rest"),)
    logits: bytes


@dataclass(frozen=True, slots=True)
class EvaluateResponse(Message):
    """Answers Evaluate."""

    TYPE: ClassVar[int] = 0xa6
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("predictions", "H*"),)
    predictions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorTableResponse(Message):
    """Answers TensorTable."""

    TYPE: ClassVar[int] = 0xb0
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("tensors", TensorRecord),)
    tensors: tuple[TensorRecord, ...]


@dataclass(frozen=True, slots=True)
class ReadWeightsResponse(Message):
    """Answers ReadWeights."""

    TYPE: ClassVar[int] = 0xb1
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("data", "rest"),)
    data: bytes


@dataclass(frozen=True, slots=True)
class WriteWeightsResponse(Message):
    """Answers WriteWeights."""

    TYPE: ClassVar[int] = 0xb2
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()


@dataclass(frozen=True, slots=True)
class WeightsHashResponse(Message):
    """Answers WeightsHash."""

    TYPE: ClassVar[int] = 0xb3
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("sha256", "32s"),)
    sha256: bytes


@dataclass(frozen=True, slots=True)
class CommitResponse(Message):
    """Answers Commit."""

    TYPE: ClassVar[int] = 0xb4
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("flash_bytes", "I"),)
    flash_bytes: int


@dataclass(frozen=True, slots=True)
class ReadEventsResponse(Message):
    """Answers ReadEvents."""

    TYPE: ClassVar[int] = 0xc0
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("first", "I"), ("events", PhaseRecord))
    first: int
    events: tuple[PhaseRecord, ...]


@dataclass(frozen=True, slots=True)
class Identify(Request[IdentifyResponse]):
    """Who are you? Answered whatever the protocol version in the frame is, and never from the kept response."""

    TYPE: ClassVar[int] = 0x01
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> IdentifyResponse:
        return IdentifyResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class Abort(Request[AbortResponse]):
    """Stops the request in progress, which is answered by an error, and forgets the batch and the half-uploaded input."""

    TYPE: ClassVar[int] = 0x02
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> AbortResponse:
        return AbortResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class Configure(Request[ConfigureResponse]):
    """Starts a session: seed of the stochastic rounding, events on or off, weights as in the artifact. Drops a batch in progress."""

    TYPE: ClassVar[int] = 0x03
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("seed", "I"), ("flags", "B"))
    seed: int
    flags: int

    def response(self, body: bytes) -> ConfigureResponse:
        return ConfigureResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class ArtifactBegin(Request[ArtifactBeginResponse]):
    """An artifact is coming. Unloads the one that is there, unless it is the same."""

    TYPE: ClassVar[int] = 0x10
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("total", "I"), ("sha256", "32s"))
    total: int
    sha256: bytes

    def response(self, body: bytes) -> ArtifactBeginResponse:
        return ArtifactBeginResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class ArtifactChunk(Request[ArtifactChunkResponse]):
    """The next bytes of the artifact."""

    TYPE: ClassVar[int] = 0x11
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("offset", "I"), ("data", "rest"))
    offset: int
    data: bytes

    def response(self, body: bytes) -> ArtifactChunkResponse:
        return ArtifactChunkResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class ArtifactEnd(Request[ArtifactEndResponse]):
    """Checks the SHA-256, validates and loads the artifact; restores committed weights that fit it."""

    TYPE: ClassVar[int] = 0x12
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> ArtifactEndResponse:
        return ArtifactEndResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class SelfTest(Request[SelfTestResponse]):
    """Runs the artifact's test vectors; an error names the first whose logits differ."""

    TYPE: ClassVar[int] = 0x13
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> SelfTestResponse:
        return SelfTestResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class InputChunk(Request[InputChunkResponse]):
    """The next bytes of an input, uint8 as in the image; the device subtracts 128. Offset 0 starts a new input."""

    TYPE: ClassVar[int] = 0x20
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("offset", "I"), ("pixels", "rest"))
    offset: int
    pixels: bytes

    def response(self, body: bytes) -> InputChunkResponse:
        return InputChunkResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class CacheInput(Request[CacheInputResponse]):
    """Runs the frozen layers on the uploaded input and keeps the result in a slot."""

    TYPE: ClassVar[int] = 0x21
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("slot", "I"), ("label", "H"), ("flags", "B"))
    slot: int
    label: int
    flags: int

    def response(self, body: bytes) -> CacheInputResponse:
        return CacheInputResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class Train(Request[TrainResponse]):
    """Trains on cached samples in this order. An abort or an error drops the batch in progress."""

    TYPE: ClassVar[int] = 0x22
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("lr_mantissa", "I"), ("lr_exponent", "h"), ("update_every", "H"), ("flags", "B"), ("slots", "I*"))
    lr_mantissa: int
    lr_exponent: int
    update_every: int
    flags: int
    slots: tuple[int, ...]

    def response(self, body: bytes) -> TrainResponse:
        return TrainResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class TrainInput(Request[TrainInputResponse]):
    """Trains on the uploaded input, frozen layers included: the cache is not used. Answered like Train."""

    TYPE: ClassVar[int] = 0x23
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("lr_mantissa", "I"), ("lr_exponent", "h"), ("label", "H"), ("flags", "B"))
    lr_mantissa: int
    lr_exponent: int
    label: int
    flags: int

    def response(self, body: bytes) -> TrainInputResponse:
        return TrainInputResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class InferInput(Request[InferInputResponse]):
    """Runs the network on the uploaded input."""

    TYPE: ClassVar[int] = 0x24
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> InferInputResponse:
        return InferInputResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class InferSlot(Request[InferSlotResponse]):
    """Runs the rest of the network on a cached sample."""

    TYPE: ClassVar[int] = 0x25
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("slot", "I"),)
    slot: int

    def response(self, body: bytes) -> InferSlotResponse:
        return InferSlotResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class Evaluate(Request[EvaluateResponse]):
    """Predictions for cached samples: the first largest logit each."""

    TYPE: ClassVar[int] = 0x26
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("slots", "I*"),)
    slots: tuple[int, ...]

    def response(self, body: bytes) -> EvaluateResponse:
        return EvaluateResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class TensorTable(Request[TensorTableResponse]):
    """The trained tensors from this number on, as many as fit."""

    TYPE: ClassVar[int] = 0x30
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("first", "H"),)
    first: int

    def response(self, body: bytes) -> TensorTableResponse:
        return TensorTableResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class ReadWeights(Request[ReadWeightsResponse]):
    """Bytes of a trained tensor, as in the weight hash: int8, or int32 little-endian."""

    TYPE: ClassVar[int] = 0x31
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("tensor", "H"), ("offset", "I"), ("length", "H"))
    tensor: int
    offset: int
    length: int

    def response(self, body: bytes) -> ReadWeightsResponse:
        return ReadWeightsResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class WriteWeights(Request[WriteWeightsResponse]):
    """Overwrites part of a trained tensor; the step counter returns to 0."""

    TYPE: ClassVar[int] = 0x32
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("tensor", "H"), ("offset", "I"), ("data", "rest"))
    tensor: int
    offset: int
    data: bytes

    def response(self, body: bytes) -> WriteWeightsResponse:
        return WriteWeightsResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class WeightsHash(Request[WeightsHashResponse]):
    """SHA-256 over all trained tensors."""

    TYPE: ClassVar[int] = 0x33
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> WeightsHashResponse:
        return WeightsHashResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class Commit(Request[CommitResponse]):
    """Writes the trained weights to flash; they are there after the next start."""

    TYPE: ClassVar[int] = 0x34
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> CommitResponse:
        return CommitResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class ReadEvents(Request[ReadEventsResponse]):
    """Events that were lost on the way, as many as fit."""

    TYPE: ClassVar[int] = 0x40
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("first", "I"),)
    first: int

    def response(self, body: bytes) -> ReadEventsResponse:
        return ReadEventsResponse.unpack(body)


MESSAGES: dict[int, type[Message]] = {
    Progress.TYPE: Progress,
    Log.TYPE: Log,
    Events.TYPE: Events,
    Damaged.TYPE: Damaged,
    Error.TYPE: Error,
    Identify.TYPE: Identify,
    IdentifyResponse.TYPE: IdentifyResponse,
    Abort.TYPE: Abort,
    AbortResponse.TYPE: AbortResponse,
    Configure.TYPE: Configure,
    ConfigureResponse.TYPE: ConfigureResponse,
    ArtifactBegin.TYPE: ArtifactBegin,
    ArtifactBeginResponse.TYPE: ArtifactBeginResponse,
    ArtifactChunk.TYPE: ArtifactChunk,
    ArtifactChunkResponse.TYPE: ArtifactChunkResponse,
    ArtifactEnd.TYPE: ArtifactEnd,
    ArtifactEndResponse.TYPE: ArtifactEndResponse,
    SelfTest.TYPE: SelfTest,
    SelfTestResponse.TYPE: SelfTestResponse,
    InputChunk.TYPE: InputChunk,
    InputChunkResponse.TYPE: InputChunkResponse,
    CacheInput.TYPE: CacheInput,
    CacheInputResponse.TYPE: CacheInputResponse,
    Train.TYPE: Train,
    TrainResponse.TYPE: TrainResponse,
    TrainInput.TYPE: TrainInput,
    TrainInputResponse.TYPE: TrainInputResponse,
    InferInput.TYPE: InferInput,
    InferInputResponse.TYPE: InferInputResponse,
    InferSlot.TYPE: InferSlot,
    InferSlotResponse.TYPE: InferSlotResponse,
    Evaluate.TYPE: Evaluate,
    EvaluateResponse.TYPE: EvaluateResponse,
    TensorTable.TYPE: TensorTable,
    TensorTableResponse.TYPE: TensorTableResponse,
    ReadWeights.TYPE: ReadWeights,
    ReadWeightsResponse.TYPE: ReadWeightsResponse,
    WriteWeights.TYPE: WriteWeights,
    WriteWeightsResponse.TYPE: WriteWeightsResponse,
    WeightsHash.TYPE: WeightsHash,
    WeightsHashResponse.TYPE: WeightsHashResponse,
    Commit.TYPE: Commit,
    CommitResponse.TYPE: CommitResponse,
    ReadEvents.TYPE: ReadEvents,
    ReadEventsResponse.TYPE: ReadEventsResponse,
}
"""All messages by their type byte."""
