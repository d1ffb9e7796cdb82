"""A trace as CSV, for people and programs that read no Parquet."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from energy.errors import TraceError
from energy.trace import TraceReader


def export_csv(reader: TraceReader, path: Path) -> None:
    """Write the trace as CSV; each column's name carries its unit and `modelled` or `measured`.

    Lost samples have no row, as in the Parquet file: the time column jumps.
    """
    kind = reader.info.kind
    temporary = path.with_name(f".{path.name}.part")
    header = ["sample_index", f"time_s_{kind}", f"current_a_{kind}", f"voltage_v_{kind}"]
    header += ["trigger", "flags"]
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for chunk in reader.chunks():
                index = np.arange(chunk.first_index, chunk.first_index + len(chunk))
                columns = (index, index / reader.info.rate_hz, chunk.current_a, chunk.voltage_v)
                bits = (chunk.trigger, chunk.flags)
                for k, t, i, v, lines, flags in zip(
                    *(column.tolist() for column in (*columns, *bits)), strict=True
                ):
                    writer.writerow((k, f"{t:.12g}", f"{i:.7g}", f"{v:.7g}", lines, flags))
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise TraceError(
            f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
        ) from exc
