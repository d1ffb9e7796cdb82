"""Errors of the host programs that are meant for people."""

from __future__ import annotations


class HostError(Exception):
    """One sentence that names the thing, what was expected and what to do next."""
