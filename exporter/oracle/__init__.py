"""The NumPy integer oracle: docs/numerics.md executed plainly, to which every kernel must be equal bit for bit.

It works on the int8 graph itself and knows nothing of partitions, programs, arenas or artifacts, so that an error in any of those shows.
"""

from __future__ import annotations

from exporter.oracle.forward import forward
from exporter.oracle.train import Oracle, SampleResult, TrainedNode

__all__ = ["Oracle", "SampleResult", "TrainedNode", "forward"]
