"""Errors of the energy tools that are meant for people."""

from __future__ import annotations


class EnergyError(Exception):
    """One sentence: names the thing, what was expected and what to do next."""


class SessionError(EnergyError):
    """What a session plug-in raises when the board, its data or its artifact is at fault."""


class TraceError(EnergyError):
    """A trace or its file cannot be used as asked."""


class BoardError(EnergyError):
    """A board description is missing, incomplete or contradicts itself."""
