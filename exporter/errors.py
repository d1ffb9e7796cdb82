"""Errors of the exporter that are meant for people."""

from __future__ import annotations


class ExporterError(Exception):
    """One sentence that names the thing, what was expected and what to do next."""
