"""Traces in files: what is written comes back, and damage is named."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy.errors import TraceError
from energy.integrate import WindowIntegrator
from energy.trace import (
    Accuracy,
    Flag,
    Gap,
    TraceChunk,
    TraceInfo,
    TraceReader,
    TraceWriter,
)
from energy.trace_csv import export_csv

INFO = TraceInfo(
    kind="modelled", rate_hz=1000.0, sampling="mean", probe="model", provenance={"note": "test"}
)


def chunk(first: int, n: int) -> TraceChunk:
    index = np.arange(first, first + n)
    return TraceChunk(
        first, index.astype(np.float64) * 1e-3, np.full(n, 3.3), (index % 9).astype(np.uint8)
    )


@settings(max_examples=25, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), min_size=1, max_size=8),
    batch=st.integers(1, 50),
)
def test_round_trip_keeps_samples_and_gaps(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]], batch: int
) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace.parquet"
    index: list[int] = []
    gaps: list[Gap] = []
    at = 0
    with TraceWriter(path, INFO) as writer:
        for skip, n in pieces:
            if skip:
                gaps.append(Gap(at, skip))
            at += skip
            writer.write(chunk(at, n))
            index += range(at, at + n)
            at += n
    reader = TraceReader(path)
    assert reader.info == INFO and reader.complete and reader.gaps == gaps
    chunks = list(reader.chunks(batch))
    got = np.concatenate([np.arange(c.first_index, c.first_index + len(c)) for c in chunks])
    np.testing.assert_array_equal(got, index)
    current = np.concatenate([c.current_a for c in chunks])
    np.testing.assert_allclose(current, np.array(index) * 1e-3, rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate([c.trigger for c in chunks]), np.array(index) % 9)
    assert all(len(c) <= batch for c in chunks)


def test_the_file_says_that_it_is_modelled_and_in_which_units(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    with TraceWriter(path, INFO) as writer:
        writer.write(chunk(0, 3))
    file = pq.ParquetFile(path)
    assert file.metadata.metadata[b"kind"] == b"modelled"
    units = {f.name: f.metadata[b"unit"] for f in file.schema_arrow}
    assert units == {
        "sample_index": b"1",
        "current_a": b"A",
        "voltage_v": b"V",
        "trigger": b"bits",
        "flags": b"bits",
    }


def test_an_exception_leaves_a_readable_file_marked_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    with pytest.raises(KeyboardInterrupt), TraceWriter(path, INFO) as writer:
        writer.write(chunk(0, 7))
        raise KeyboardInterrupt
    reader = TraceReader(path)
    assert not reader.complete and reader.samples == 7
    assert [p.name for p in tmp_path.iterdir()] == ["trace.parquet"]


def test_nothing_is_there_before_the_trace_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    with TraceWriter(path, INFO) as writer:
        writer.write(chunk(0, 7))
        assert not path.exists()
    assert path.exists()


def test_going_back_is_refused(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t.parquet", INFO) as writer:
        writer.write(chunk(0, 7))
        with pytest.raises(TraceError, match="went back"):
            writer.write(chunk(6, 1))


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(TraceError, match="rate"):
        TraceInfo(kind="modelled", rate_hz=rate, sampling="mean", probe="model")


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(TraceError, match="same length"):
        TraceChunk(0, np.zeros(3), np.zeros(2), np.zeros(3, dtype=np.uint8))


def test_csv_names_kind_and_units(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    with TraceWriter(path, INFO) as writer:
        writer.write(chunk(0, 3))
        writer.write(chunk(5, 2))
    export_csv(TraceReader(path), tmp_path / "trace.csv")
    with (tmp_path / "trace.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [
        "sample_index",
        "time_s_modelled",
        "current_a_modelled",
        "voltage_v_modelled",
        "trigger",
        "flags",
    ]
    assert [int(row[0]) for row in rows[1:]] == [0, 1, 2, 5, 6]
    assert float(rows[4][1]) == pytest.approx(0.005)
    assert float(rows[4][2]) == pytest.approx(0.005)


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    with TraceWriter(path, INFO) as writer:
        writer.write(chunk(0, 100))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TraceError, match=r"trace\.parquet is not a readable trace"):
        TraceReader(path)
    path.write_bytes(whole.replace(b"tbft-trace-2", b"tbft-trace-9"))
    with pytest.raises(TraceError, match="tbft-trace-9"):
        TraceReader(path)
    pq.write_table(pa.table({"current_a": [1.0]}), path)
    with pytest.raises(TraceError, match="no trace of this tool"):
        TraceReader(path)
    with pytest.raises(TraceError, match=r"missing\.parquet"):
        TraceReader(tmp_path / "missing.parquet")
    with pytest.raises(TraceError, match="cannot write"):
        TraceWriter(tmp_path / "no" / "folder" / "t.parquet", INFO)


def test_flags_come_back_and_say_over_range(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    flags = np.array([0, Flag.OVER_RANGE, Flag.RANGE_SWITCH | Flag.REPAIRED], dtype=np.uint8)
    three = np.full(3, 0.1)
    accuracy = Accuracy(0.01, 1e-6, 0.002, 1e-3, 5e-5, "data sheet, section 5")
    info = TraceInfo("measured", 1e5, "mean", "ppk2", accuracy=accuracy)
    with TraceWriter(path, info) as writer:
        writer.write(TraceChunk(0, three, three, np.zeros(3, dtype=np.uint8), flags))
    reader = TraceReader(path)
    assert reader.info == info
    [got] = reader.chunks()
    np.testing.assert_array_equal(got.flags, flags)
    integrator = WindowIntegrator(
        np.array([0.0, 1e-5, 2e-5]), np.array([1e-5, 2e-5, 3e-5]), rate_hz=1e5, sampling="mean"
    )
    integrator.feed(got)
    assert integrator.finish().valid.tolist() == [True, False, True]
    with pytest.raises(TraceError, match="flags"):
        TraceChunk(0, three, three, np.zeros(3, dtype=np.uint8), flags[:2])


def test_a_file_of_the_first_format_is_read(tmp_path: Path) -> None:
    path, old = tmp_path / "trace.parquet", tmp_path / "old.parquet"
    with TraceWriter(path, INFO) as writer:
        writer.write(chunk(0, 5))
    table = pq.read_table(path).drop_columns("flags")
    meta = json.loads(pq.ParquetFile(path).metadata.metadata[b"tbft.trace"])
    meta["format"] = "tbft-trace-1"
    del meta["info"]["accuracy"], meta["lost"]
    pq.write_table(table.replace_schema_metadata({b"tbft.trace": json.dumps(meta)}), old)
    reader = TraceReader(old)
    assert reader.info == INFO and reader.complete
    [got] = reader.chunks()
    np.testing.assert_array_equal(got.current_a, next(TraceReader(path).chunks()).current_a)
    assert got.flags.tolist() == [0] * 5


def test_a_file_that_is_damaged_inside_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    with TraceWriter(path, INFO) as writer:
        writer.write(chunk(0, 50_000))
    whole = bytearray(path.read_bytes())
    whole[200:2000] = bytes(1800)
    path.write_bytes(whole)
    with pytest.raises(TraceError, match="damaged inside"):
        list(TraceReader(path).chunks())
