"""Python and C++ agree on every frame, damaged frame and message of tests/wire_cases.json, and with each other beyond."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.protocol import generate
from host.protocol import messages as m
from host.protocol.codec import BodyError, Message, Record
from host.protocol.frame import (
    MAX_ENCODED,
    Frame,
    FrameDecoder,
    FrameResult,
    cobs_decode,
    cobs_encode,
    encode_frame,
)
from tests.native import REPO, NativeBuild
from tests.python.wire_lib import WireLib

CASES: dict[str, Any] = json.loads((REPO / "tests" / "wire_cases.json").read_text("utf-8"))
FRAMES, MESSAGES, BAD_BODIES = CASES["frames"], CASES["messages"], CASES["bad_bodies"]


@pytest.fixture(scope="module")
def cpp(native_build: NativeBuild) -> WireLib:
    return WireLib(native_build.testlib)


def frame_of(row: dict[str, Any]) -> Frame:
    result = FrameResult[row["result"].upper()]
    if result is not FrameResult.FRAME:
        return Frame(result)
    return Frame(result, row["version"], row["type"], row["sequence"], bytes.fromhex(row["body"]))


def decode(stream: bytes, pieces: int = 1 << 30) -> list[Frame]:
    decoder = FrameDecoder()
    frames = []
    for at in range(0, len(stream), pieces):
        frames += list(decoder.push(stream[at : at + pieces]))
    return frames


@pytest.mark.parametrize("case", FRAMES, ids=[case["name"] for case in FRAMES])
def test_stream_decodes_as_the_table_says(case: dict[str, Any], cpp: WireLib) -> None:
    stream = bytes.fromhex(case["stream"])
    expected = [frame_of(row) for row in case["results"]]
    assert cpp.decode(stream) == expected
    for pieces in (1 << 30, 1, 2, 3, 254, 255):
        assert decode(stream, pieces) == expected


@pytest.mark.parametrize("case", FRAMES, ids=[case["name"] for case in FRAMES])
def test_good_frames_encode_as_the_table_says(case: dict[str, Any], cpp: WireLib) -> None:
    good = [frame_of(row) for row in case["results"] if row["result"] == "frame"]
    for frame in good:
        encoded = encode_frame(frame.type, frame.sequence, frame.body, frame.version)
        assert encoded in bytes.fromhex(case["stream"])
        if frame.version == m.PROTOCOL_VERSION:
            assert cpp.encode(frame.type, frame.sequence, frame.body) == encoded


def plain(value: Any) -> Any:
    """A message's value as in the table."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Record):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    return value


@pytest.mark.parametrize("case", MESSAGES, ids=[f"{i}-{c['name']}" for i, c in enumerate(MESSAGES)])
def test_message_is_its_bytes(case: dict[str, Any], cpp: WireLib) -> None:
    body = bytes.fromhex(case["body"])
    kind: type[Message] = m.MESSAGES[case["type"]]
    assert kind.__name__ == case["name"]
    message = kind.unpack(body)
    assert plain(message) == case["fields"]
    assert message.pack() == body
    assert cpp.reencode(case["type"], body) == body


@pytest.mark.parametrize(
    "case", BAD_BODIES, ids=[f"{i}-{c['name']}" for i, c in enumerate(BAD_BODIES)]
)
def test_bad_body_is_refused(case: dict[str, Any], cpp: WireLib) -> None:
    body = bytes.fromhex(case["body"])
    assert cpp.reencode(case["type"], body) is None
    with pytest.raises(BodyError):
        m.MESSAGES[case["type"]].unpack(body)


def test_every_message_has_a_case(cpp: WireLib) -> None:
    assert {case["type"] for case in MESSAGES} == set(m.MESSAGES)
    assert {kind for kind in range(256) if cpp.knows(kind)} == set(m.MESSAGES)


def test_generated_files_are_up_to_date() -> None:
    for path, text in generate.outputs().items():
        assert (REPO / path).read_text("utf-8") == text, (
            f"{path} is out of date: run python -m host.protocol.generate"
        )


bodies = st.one_of(
    st.binary(max_size=m.BODY_LIMIT),
    st.integers(0, m.BODY_LIMIT).map(bytes),
    st.integers(0, m.BODY_LIMIT).map(lambda n: b"\x55" * n),
)
frames = st.tuples(st.integers(0, 255), st.integers(0, 0xFFFF), bodies)


@given(st.lists(frames, max_size=4), st.lists(st.integers(1, 300), max_size=20))
def test_both_sides_encode_alike_and_any_split_decodes_the_same(
    sent: list[tuple[int, int, bytes]], splits: list[int]
) -> None:
    cpp = _library()
    stream = b""
    for kind, sequence, body in sent:
        encoded = encode_frame(kind, sequence, body)
        assert encoded == cpp.encode(kind, sequence, body)
        assert len(encoded) <= MAX_ENCODED
        assert encoded.count(0) == 1
        stream += encoded
    expected = [Frame(FrameResult.FRAME, m.PROTOCOL_VERSION, *frame) for frame in sent]
    assert cpp.decode(stream) == expected
    decoder = FrameDecoder()
    found = []
    for size in splits:
        found += list(decoder.push(stream[:size]))
        stream = stream[size:]
    found += list(decoder.push(stream))
    assert found == expected


@given(st.binary(max_size=3000), st.lists(frames, max_size=2), st.integers(0, 3000))
def test_both_sides_judge_noise_alike(
    noise: bytes, sent: list[tuple[int, int, bytes]], where: int
) -> None:
    stream = b"".join(encode_frame(*frame) for frame in sent)
    stream = stream[:where] + noise + stream[where:] + b"\0"
    assert decode(stream) == _library().decode(stream)


@given(st.binary(max_size=1040))
def test_cobs_round_trip(payload: bytes) -> None:
    encoded = cobs_encode(payload)
    assert 0 not in encoded
    assert cobs_decode(encoded) == (payload, True)


@given(frames, st.integers(0, 1100), st.integers(1, 255))
def test_a_changed_byte_never_passes_for_the_frame(
    frame: tuple[int, int, bytes], place: int, change: int
) -> None:
    encoded = bytearray(encode_frame(*frame))
    encoded[place % len(encoded)] ^= change
    whole = Frame(FrameResult.FRAME, m.PROTOCOL_VERSION, *frame)
    assert whole not in decode(bytes(encoded) + b"\0")


def _library() -> WireLib:
    from tests import native

    return WireLib(native.native().testlib)
