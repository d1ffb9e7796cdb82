"""Front ends: a checkpoint or model file becomes a float graph."""

from __future__ import annotations

from exporter.frontends.checkpoint import Checkpoint, read_checkpoint
from exporter.frontends.state_dict import graph_from_checkpoint, load_graph

__all__ = ["Checkpoint", "graph_from_checkpoint", "load_graph", "read_checkpoint"]
