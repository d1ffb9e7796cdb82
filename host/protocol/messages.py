"""The messages of the wire protocol. Generated from host/protocol/messages.toml by `python -m host.protocol.generate`; do not edit."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from host.protocol.codec import Message, Record, Request

PROTOCOL_VERSION = 2
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
    NO_SENSOR = 150
    SENSOR_FAILED = 151
    DUTY_RUNNING = 142
    NO_DUTY = 143
    NO_REPLAY = 144
    REPLAY_FULL = 145


@dataclass(frozen=True, slots=True)
class ScheduleEntry(Record):
    """One entry of the schedule. Unused fields are 0."""

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("action", "B"), ("condition", "B"), ("min_battery_percent", "B"), ("reserved", "B"), ("period_s", "I"), ("first_s", "I"), ("quiet_from_min", "H"), ("quiet_to_min", "H"), ("min_battery_mv", "H"), ("min_labelled", "H"), ("max_samples", "H"), ("rehearse", "H"), ("epochs", "H"), ("batch", "H"), ("lr_mantissa", "I"), ("lr_exponent", "h"), ("reserved2", "H"), ("condition_value", "I"))
    action: int
    condition: int
    min_battery_percent: int
    reserved: int
    period_s: int
    first_s: int
    quiet_from_min: int
    quiet_to_min: int
    min_battery_mv: int
    min_labelled: int
    max_samples: int
    rehearse: int
    epochs: int
    batch: int
    lr_mantissa: int
    lr_exponent: int
    reserved2: int
    condition_value: int


@dataclass(frozen=True, slots=True)
class DutyEvent(Record):
    """One thing that happened on duty."""

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("kind", "B"), ("entry", "B"), ("code", "H"), ("time_s", "I"), ("id", "I"), ("value", "I"), ("battery_mv", "H"))
    kind: int
    entry: int
    code: int
    time_s: int
    id: int
    value: int
    battery_mv: int


@dataclass(frozen=True, slots=True)
class StoredSample(Record):
    """A sample in the store."""

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("id", "I"), ("taken_s", "I"), ("prediction", "H"), ("label", "H"), ("number", "I"))
    id: int
    taken_s: int
    prediction: int
    label: int
    number: int


@dataclass(frozen=True, slots=True)
class SampleLabel(Record):
    """The label of a stored sample."""

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("id", "I"), ("label", "H"))
    id: int
    label: int


@dataclass(frozen=True, slots=True)
class BatteryReading(Record):
    """One point of a replayed battery's course."""

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("time_s", "I"), ("mv", "H"), ("percent", "B"))
    time_s: int
    mv: int
    percent: int


@dataclass(frozen=True, slots=True)
class PhaseRecord(Record):
    """One completed phase."""

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("phase", "B"), ("index", "B"), ("sequence", "H"), ("start_us", "I"), ("stop_us", "I"), ("macs", "Q"), ("weight_macs", "Q"), ("sums", "I"), ("masks", "I"), ("elements", "I"), ("updates", "I"), ("flash_bytes", "I"), ("wire_bytes", "I"))
    phase: int
    index: int
    sequence: int
    start_us: int
    stop_us: int
    macs: int
    weight_macs: int
    sums: int
    masks: int
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
class SensorRecord(Record):
    """One current sensor."""

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("conversion_us", "I"), ("name", "text16"))
    conversion_us: int
    name: str


@dataclass(frozen=True, slots=True)
class CurrentRecord(Record):
    """One reading of a current sensor."""

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("clock_us", "I"), ("current_ua", "i"), ("voltage_uv", "i"), ("flags", "B"))
    clock_us: int
    current_ua: int
    voltage_uv: int
    flags: int


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
class CurrentSamples(Message):
    """Readings of the current sensor that SensorStart started."""

    TYPE: ClassVar[int] = 0x76
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("first", "I"), ("lost", "I"), ("samples", CurrentRecord))
    first: int
    lost: int
    samples: tuple[CurrentRecord, ...]


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
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("protocol_version", "H"), ("load_code", "H"), ("load_record", "I"), ("board", "text32"), ("firmware", "text32"), ("model_hash", "32s"), ("clock_hz", "I"), ("arena_limit_bytes", "I"), ("arena_bytes", "I"), ("persistent_bytes", "I"), ("artifact_limit_bytes", "I"), ("artifact_bytes", "I"), ("input_limit_bytes", "I"), ("input_bytes", "I"), ("input_height", "H"), ("input_width", "H"), ("input_channels", "H"), ("classes", "H"), ("cache_slots", "I"), ("cached_sample_bytes", "I"), ("trained_tensors", "H"), ("update_mode", "B"), ("flags", "B"), ("trained_bytes", "I"), ("step", "I"), ("event_limit", "I"), ("body_limit", "H"), ("region_limit_bytes", "I*"))
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
    region_limit_bytes: tuple[int, ...]


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
class BoardStatusResponse(Message):
    """Answers BoardStatus."""

    TYPE: ClassVar[int] = 0x84
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("flash_bytes", "I"), ("static_ram_bytes", "I"), ("static_psram_bytes", "I"), ("stack_bytes", "I"), ("stack_used_bytes", "I"))
    flash_bytes: int
    static_ram_bytes: int
    static_psram_bytes: int
    stack_bytes: int
    stack_used_bytes: int


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
class SensorListResponse(Message):
    """Answers SensorList."""

    TYPE: ClassVar[int] = 0xc8
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("sensors", SensorRecord),)
    sensors: tuple[SensorRecord, ...]


@dataclass(frozen=True, slots=True)
class SensorStartResponse(Message):
    """Answers SensorStart."""

    TYPE: ClassVar[int] = 0xc9
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("period_us", "I"),)
    period_us: int


@dataclass(frozen=True, slots=True)
class SensorStopResponse(Message):
    """Answers SensorStop."""

    TYPE: ClassVar[int] = 0xca
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("taken", "I"), ("lost", "I"))
    taken: int
    lost: int


@dataclass(frozen=True, slots=True)
class DutyEvents(Message):
    """What happened on duty, sent as it happens when DutyStart asked for it."""

    TYPE: ClassVar[int] = 0x75
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("first", "I"), ("events", DutyEvent))
    first: int
    events: tuple[DutyEvent, ...]


@dataclass(frozen=True, slots=True)
class DutyWriteScheduleResponse(Message):
    """Answers DutyWriteSchedule."""

    TYPE: ClassVar[int] = 0xe0
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("sequence", "I"),)
    sequence: int


@dataclass(frozen=True, slots=True)
class DutyReadScheduleResponse(Message):
    """Answers DutyReadSchedule."""

    TYPE: ClassVar[int] = 0xe1
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("sequence", "I"), ("running", "B"), ("start_s", "I"), ("until_s", "I"), ("seed", "I"), ("listen_ms", "H"), ("entries", ScheduleEntry))
    sequence: int
    running: int
    start_s: int
    until_s: int
    seed: int
    listen_ms: int
    entries: tuple[ScheduleEntry, ...]


@dataclass(frozen=True, slots=True)
class DutyStartResponse(Message):
    """Answers DutyStart."""

    TYPE: ClassVar[int] = 0xe2
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("time_s", "I"),)
    time_s: int


@dataclass(frozen=True, slots=True)
class DutyStopResponse(Message):
    """Answers DutyStop."""

    TYPE: ClassVar[int] = 0xe3
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()


@dataclass(frozen=True, slots=True)
class DutyStatusResponse(Message):
    """Answers DutyStatus."""

    TYPE: ClassVar[int] = 0xe4
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("mode", "B"), ("tuning", "B"), ("time_s", "I"), ("next_s", "I"), ("wakes", "I"), ("samples", "I"), ("labels", "I"), ("right", "I"), ("tunings", "I"), ("stored", "I"), ("capacity", "I"), ("unlabelled", "I"), ("new_labelled", "I"), ("damaged", "I"), ("skipped", "I"), ("failures", "I"), ("last_failure", "H"), ("last_failure_record", "I"), ("checkpoint", "I"), ("battery_mv", "H"), ("battery_percent", "B"), ("events", "I"), ("tune_limit", "I"), ("replay_limit", "I"), ("battery_limit", "I"))
    mode: int
    tuning: int
    time_s: int
    next_s: int
    wakes: int
    samples: int
    labels: int
    right: int
    tunings: int
    stored: int
    capacity: int
    unlabelled: int
    new_labelled: int
    damaged: int
    skipped: int
    failures: int
    last_failure: int
    last_failure_record: int
    checkpoint: int
    battery_mv: int
    battery_percent: int
    events: int
    tune_limit: int
    replay_limit: int
    battery_limit: int


@dataclass(frozen=True, slots=True)
class DutyLabelsResponse(Message):
    """Answers DutyLabels."""

    TYPE: ClassVar[int] = 0xe5
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("labels", "I"),)
    labels: int


@dataclass(frozen=True, slots=True)
class DutyReadEventsResponse(Message):
    """Answers DutyReadEvents."""

    TYPE: ClassVar[int] = 0xe6
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("first", "I"), ("events", DutyEvent))
    first: int
    events: tuple[DutyEvent, ...]


@dataclass(frozen=True, slots=True)
class DutySamplesResponse(Message):
    """Answers DutySamples."""

    TYPE: ClassVar[int] = 0xe7
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("samples", StoredSample),)
    samples: tuple[StoredSample, ...]


@dataclass(frozen=True, slots=True)
class DutyReadSampleResponse(Message):
    """Answers DutyReadSample."""

    TYPE: ClassVar[int] = 0xe8
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("pixels", "rest"),)
    pixels: bytes


@dataclass(frozen=True, slots=True)
class ReplaySampleResponse(Message):
    """Answers ReplaySample."""

    TYPE: ClassVar[int] = 0xe9
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("samples", "I"),)
    samples: int


@dataclass(frozen=True, slots=True)
class ReplayBatteryResponse(Message):
    """Answers ReplayBattery."""

    TYPE: ClassVar[int] = 0xea
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("points", "I"),)
    points: int


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
class BoardStatus(Request[BoardStatusResponse]):
    """What the program takes of the board."""

    TYPE: ClassVar[int] = 0x04
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> BoardStatusResponse:
        return BoardStatusResponse.unpack(body)


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


@dataclass(frozen=True, slots=True)
class SensorList(Request[SensorListResponse]):
    """The current sensors that the board has, in the order of their numbers."""

    TYPE: ClassVar[int] = 0x48
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> SensorListResponse:
        return SensorListResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class SensorStart(Request[SensorStartResponse]):
    """Starts sampling a current sensor; readings come as CurrentSamples until SensorStop or Abort, or a Log says why not."""

    TYPE: ClassVar[int] = 0x49
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("sensor", "B"), ("period_us", "I"))
    sensor: int
    period_us: int

    def response(self, body: bytes) -> SensorStartResponse:
        return SensorStartResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class SensorStop(Request[SensorStopResponse]):
    """Ends sampling, after the readings that are left."""

    TYPE: ClassVar[int] = 0x4a
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> SensorStopResponse:
        return SensorStopResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class DutyWriteSchedule(Request[DutyWriteScheduleResponse]):
    """Checks the schedule and keeps it in flash; duty does not start by that."""

    TYPE: ClassVar[int] = 0x60
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("listen_ms", "H"), ("entries", ScheduleEntry))
    listen_ms: int
    entries: tuple[ScheduleEntry, ...]

    def response(self, body: bytes) -> DutyWriteScheduleResponse:
        return DutyWriteScheduleResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class DutyReadSchedule(Request[DutyReadScheduleResponse]):
    """The schedule that flash holds."""

    TYPE: ClassVar[int] = 0x61
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> DutyReadScheduleResponse:
        return DutyReadScheduleResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class DutyStart(Request[DutyStartResponse]):
    """Works by the schedule from now on, after a restart too. Training begins at the last committed weights."""

    TYPE: ClassVar[int] = 0x62
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("flags", "B"), ("time_s", "I"), ("until_s", "I"), ("seed", "I"))
    flags: int
    time_s: int
    until_s: int
    seed: int

    def response(self, body: bytes) -> DutyStartResponse:
        return DutyStartResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class DutyStop(Request[DutyStopResponse]):
    """Ends duty, after a restart too. (Abort only pauses it.) An unfinished fine-tuning goes back to the last commit."""

    TYPE: ClassVar[int] = 0x63
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> DutyStopResponse:
        return DutyStopResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class DutyStatus(Request[DutyStatusResponse]):
    """What happened so far. Counts are of the sample store's whole life, but for those since the board's start."""

    TYPE: ClassVar[int] = 0x64
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def response(self, body: bytes) -> DutyStatusResponse:
        return DutyStatusResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class DutyLabels(Request[DutyLabelsResponse]):
    """Labels of stored samples. Stops at the first that cannot be stored; a label that a sample has already is no error."""

    TYPE: ClassVar[int] = 0x65
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("labels", SampleLabel),)
    labels: tuple[SampleLabel, ...]

    def response(self, body: bytes) -> DutyLabelsResponse:
        return DutyLabelsResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class DutyReadEvents(Request[DutyReadEventsResponse]):
    """Events from this number on, as many as fit."""

    TYPE: ClassVar[int] = 0x66
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("first", "I"),)
    first: int

    def response(self, body: bytes) -> DutyReadEventsResponse:
        return DutyReadEventsResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class DutySamples(Request[DutySamplesResponse]):
    """Stored samples from this id on, as many as fit."""

    TYPE: ClassVar[int] = 0x67
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("first", "I"),)
    first: int

    def response(self, body: bytes) -> DutySamplesResponse:
        return DutySamplesResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class DutyReadSample(Request[DutyReadSampleResponse]):
    """Bytes of a stored sample, uint8 as in the image."""

    TYPE: ClassVar[int] = 0x68
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("id", "I"), ("offset", "I"), ("length", "H"))
    id: int
    offset: int
    length: int

    def response(self, body: bytes) -> DutyReadSampleResponse:
        return DutyReadSampleResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class ReplaySample(Request[ReplaySampleResponse]):
    """The uploaded input becomes a sample that a board without a sensor takes: sample `id` is number id modulo their number."""

    TYPE: ClassVar[int] = 0x69
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("index", "I"), ("label", "H"), ("delay_s", "I"))
    index: int
    label: int
    delay_s: int

    def response(self, body: bytes) -> ReplaySampleResponse:
        return ReplaySampleResponse.unpack(body)


@dataclass(frozen=True, slots=True)
class ReplayBattery(Request[ReplayBatteryResponse]):
    """The course of the battery of a board without one; straight lines between the points."""

    TYPE: ClassVar[int] = 0x6a
    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = (("index", "I"), ("points", BatteryReading))
    index: int
    points: tuple[BatteryReading, ...]

    def response(self, body: bytes) -> ReplayBatteryResponse:
        return ReplayBatteryResponse.unpack(body)


MESSAGES: dict[int, type[Message]] = {
    Progress.TYPE: Progress,
    Log.TYPE: Log,
    Events.TYPE: Events,
    Damaged.TYPE: Damaged,
    CurrentSamples.TYPE: CurrentSamples,
    Error.TYPE: Error,
    Identify.TYPE: Identify,
    IdentifyResponse.TYPE: IdentifyResponse,
    Abort.TYPE: Abort,
    AbortResponse.TYPE: AbortResponse,
    Configure.TYPE: Configure,
    ConfigureResponse.TYPE: ConfigureResponse,
    BoardStatus.TYPE: BoardStatus,
    BoardStatusResponse.TYPE: BoardStatusResponse,
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
    SensorList.TYPE: SensorList,
    SensorListResponse.TYPE: SensorListResponse,
    SensorStart.TYPE: SensorStart,
    SensorStartResponse.TYPE: SensorStartResponse,
    SensorStop.TYPE: SensorStop,
    SensorStopResponse.TYPE: SensorStopResponse,
    DutyEvents.TYPE: DutyEvents,
    DutyWriteSchedule.TYPE: DutyWriteSchedule,
    DutyWriteScheduleResponse.TYPE: DutyWriteScheduleResponse,
    DutyReadSchedule.TYPE: DutyReadSchedule,
    DutyReadScheduleResponse.TYPE: DutyReadScheduleResponse,
    DutyStart.TYPE: DutyStart,
    DutyStartResponse.TYPE: DutyStartResponse,
    DutyStop.TYPE: DutyStop,
    DutyStopResponse.TYPE: DutyStopResponse,
    DutyStatus.TYPE: DutyStatus,
    DutyStatusResponse.TYPE: DutyStatusResponse,
    DutyLabels.TYPE: DutyLabels,
    DutyLabelsResponse.TYPE: DutyLabelsResponse,
    DutyReadEvents.TYPE: DutyReadEvents,
    DutyReadEventsResponse.TYPE: DutyReadEventsResponse,
    DutySamples.TYPE: DutySamples,
    DutySamplesResponse.TYPE: DutySamplesResponse,
    DutyReadSample.TYPE: DutyReadSample,
    DutyReadSampleResponse.TYPE: DutyReadSampleResponse,
    ReplaySample.TYPE: ReplaySample,
    ReplaySampleResponse.TYPE: ReplaySampleResponse,
    ReplayBattery.TYPE: ReplayBattery,
    ReplayBatteryResponse.TYPE: ReplayBatteryResponse,
}
"""All messages by their type byte."""
