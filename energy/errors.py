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


class ProbeError(EnergyError):
    """An instrument cannot be found, opened or used as asked."""


class ProbeLostError(ProbeError):
    """An instrument stopped answering while it sampled; what it had sent by then was delivered."""


class AlignmentError(EnergyError):
    """The board's clock and the trace's cannot be brought together."""
