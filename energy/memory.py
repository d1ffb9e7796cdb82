"""Memory that is not used goes back to the system: a recording of hours must not take more than one of minutes."""

from __future__ import annotations

import os
import sys


def use_system_allocator() -> None:
    """Let Arrow allocate where everything else does; only before `pyarrow` is first imported.

    The pool it brings along keeps what was freed, per thread, some 30 MB while samples are written,
    and has no way to give it back. Who chose a pool by `ARROW_DEFAULT_MEMORY_POOL` keeps it.
    """
    if "pyarrow" not in sys.modules:
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def release() -> None:
    """Give freed memory back to the system: Arrow's and, with the GNU C library, NumPy's and Python's."""
    import pyarrow as pa  # not before `use_system_allocator`

    pa.default_memory_pool().release_unused()
