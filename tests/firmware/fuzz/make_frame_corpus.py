"""Writes the seeds of fuzz_frame.cc: sessions with every request. Run again when the messages change.

python -m tests.firmware.fuzz.make_frame_corpus
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from exporter.artifact_read import read_artifact
from host.duty_schedule import Entry
from host.protocol import messages as m
from host.protocol.codec import Message
from host.protocol.frame import encode_frame

CORPUS = Path(__file__).parent / "corpus"
ARTIFACT = CORPUS / "artifact" / "small1-all-accumulate.tbfa"
LOADED, FRAMED = 1, 2
UNFINISHED = 0x80
"""In a frame's type: the next frame comes before the request is through."""
TWICE, OTHER_VERSION = 0x8000, 0x4000
"""In a frame's length."""


def contents(message: Message, unfinished: bool = False, length_flags: int = 0) -> bytes:
    """One frame's contents as the fuzzer takes them."""
    body = message.pack()
    kind = message.TYPE | (UNFINISHED if unfinished else 0)
    return bytes([kind]) + (len(body) | length_flags).to_bytes(2, "little") + body


def framed(messages: Sequence[Message], loaded: bool = True) -> bytes:
    """Input that the fuzzer frames itself."""
    first = bytes([FRAMED | (LOADED if loaded else 0)])
    return first + b"".join(map(contents, messages))


def interrupted(messages: Sequence[Message]) -> bytes:
    """A session whose frames all come twice, and whose long requests are each met by an Abort of another version, by
    a request, and by an Abort."""
    parts = [bytes([FRAMED | LOADED])]
    for message in messages:
        parts.append(contents(message, length_flags=TWICE))
        if isinstance(message, m.Train | m.Evaluate):
            parts.append(contents(message, True, TWICE))
            parts.append(contents(m.Abort(), True, OTHER_VERSION))
            parts.append(contents(m.WeightsHash(), True))
            parts.append(contents(m.Abort(), True, TWICE))
    return b"".join(parts)


def stream(messages: Sequence[Message]) -> bytes:
    """Input that is a stream of frames."""
    frames = [encode_frame(x.TYPE, i, x.pack()) for i, x in enumerate(messages, 1)]
    return bytes([LOADED]) + b"".join(frames)


def session(input_bytes: int) -> list[Message]:
    """Every request that a loaded board takes."""
    pixels = bytes(i % 256 for i in range(input_bytes))
    rate = (0x66666666, -6)
    return [
        m.Identify(), m.Configure(1, 3), m.InputChunk(0, pixels[:100]), m.InputChunk(100, pixels[100:]),
        m.CacheInput(0, 1, 0), m.CacheInput(1, 0, 1), m.InferInput(), m.InferSlot(1),
        m.Train(*rate, 2, 1, (0, 1, 0)), m.TrainInput(*rate, 1, 1), m.Evaluate((1, 0)), m.SelfTest(),
        m.TensorTable(0), m.ReadWeights(0, 0, 16), m.WriteWeights(1, 0, bytes(4)), m.WeightsHash(),
        m.ReadEvents(0), m.Commit(), m.Abort(),
    ]  # fmt: skip


def duty_session(input_bytes: int) -> list[Message]:
    """Every request of duty-cycled operation; time passes behind each."""
    pixels = bytes(i % 251 for i in range(input_bytes))
    sample = Entry("sample", 600)
    tune = Entry("tune", 600, 0, 60, 120, 3500, 10, 2, 4, 1, 2, 2, 0.05)
    entries = (sample.record(), tune.record())
    replay: list[Message] = []
    for index in range(3):
        replay += [m.InputChunk(0, pixels), m.ReplaySample(index, index % 2, 700)]
    return [
        m.DutyStatus(), *replay, m.ReplayBattery(0, (m.BatteryReading(0, 4000, 90),)),
        m.DutyWriteSchedule(5, entries), m.DutyReadSchedule(), m.DutyStart(3, 100, 90_000, 1),
        m.DutyStatus(), m.DutyLabels((m.SampleLabel(0, 1),)), m.DutySamples(0), m.DutyReadSample(1, 3, 20),
        m.DutyReadEvents(0), m.Commit(), m.WeightsHash(), m.Abort(), m.DutyStart(4, 0, 0, 0), m.DutyStop(),
        m.DutyStart(0, 90_000, 0, 2), m.DutyStatus(),
    ]  # fmt: skip


def main() -> None:
    """Write all seeds."""
    data = ARTIFACT.read_bytes()
    artifact = read_artifact(data)
    messages = session(artifact.tensors[artifact.input].nbytes)
    upload: list[Message] = [m.ArtifactBegin(len(data), hashlib.sha256(data).digest())]
    upload += [m.ArtifactChunk(at, data[at : at + 1008]) for at in range(0, len(data), 1008)]
    upload.append(m.ArtifactEnd())
    folder = CORPUS / "frame"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "session-framed").write_bytes(framed(messages))
    (folder / "session-stream").write_bytes(stream(messages))
    (folder / "upload-framed").write_bytes(framed([*upload, m.Identify()], loaded=False))
    (folder / "session-interrupted").write_bytes(interrupted(messages))
    duty = duty_session(artifact.tensors[artifact.input].nbytes)
    (folder / "duty-framed").write_bytes(framed(duty))
    (folder / "unloaded-framed").write_bytes(framed(messages, loaded=False))


if __name__ == "__main__":
    main()
