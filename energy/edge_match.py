"""Which trigger edge of the trace is which edge of the board's events.

Two sequences of (time, code) in unknown offset, with drift, loss and extra edges on both sides.
Candidates for the offset come from votes at three places (start, middle, end): every pair of equal
codes votes for its difference. Training repeats itself, so a shift by one step gets nearly as many
votes as the true one. Candidates are therefore followed outwards, first for some seconds, the best
of them over the whole session, where the beginning, the end and every irregularity count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from energy.clock import Floats, Ints

_ANCHOR_EDGES = 48
_VOTES_AT_ONCE = 1 << 16
_MAX_CANDIDATES = 600
_FINALISTS = 4  # per place
_SURVIVE = 0.4  # of the candidates, whenever the edges looked at double
_FOLLOW_S = 20.0
_BLOCK_EDGES, _BLOCK_S = 64, 15.0


@dataclass(frozen=True)
class Pairs:
    """Indices of the edges that belong together, in order of time; `ambiguous_s` of `Alignment`."""

    expected: Ints
    observed: Ints
    ambiguous_s: float


@dataclass
class _Candidate:
    """`trace = board + shift + skew * (board - anchor)` near the anchor, and how well that fits."""

    anchor_s: float
    shift_s: float
    skew: float = 0.0
    unsure: float = 0.0  # how far the skew may be off
    score: float = 0.0

    def at(self, board_s: Floats) -> Floats:
        return board_s + self.shift_s + self.skew * (board_s - self.anchor_s)


class Matcher:
    """`expected_s` ascending; codes int64; `tight_s`: how far a matching edge can be from its place
    on a perfect map; `max_drift`: relative; `near_s`: range of the trace time of board time 0."""

    def __init__(
        self,
        expected_s: Floats,
        expected_code: Ints,
        observed_s: Floats,
        observed_code: Ints,
        tight_s: float,
        max_drift: float,
        near_s: tuple[float, float] | None,
    ) -> None:
        self._e, self._e_code = expected_s, expected_code
        order = np.argsort(observed_s, kind="stable")
        self._back = order
        self._o, self._o_code = observed_s[order], observed_code[order]
        self._tight, self._drift, self._near = tight_s, max_drift, near_s
        self._by_code = {
            int(c): np.flatnonzero(self._o_code == c) for c in np.unique(observed_code)
        }

    def best(self) -> Pairs | None:
        """The pairs of the best alignment, or None where nothing fits better than chance."""
        count = len(self._e)
        size = min(_ANCHOR_EDGES, count)
        finalists: list[_Candidate] = []
        for first in sorted({0, (count - size) // 2, count - size}):
            anchor = slice(first, first + size)
            finalists += self._follow(self._votes(anchor), anchor)
        # Of all but the best only the cost and the shift are kept: pairs are many.
        best: tuple[Ints, Ints] | None = None
        best_cost, shift_s = np.inf, 0.0
        others: list[tuple[float, float]] = []
        for candidate in finalists:
            pairs_e, pairs_o, residual = self._track(candidate)
            if len(pairs_e) < 4:
                continue
            cost = self._unmatched(pairs_e, pairs_o)
            worst = float(np.sum(np.minimum((residual / self._tight) ** 2, 9.0)))
            cost += 0.1 * worst
            others.append((cost, float(np.median(self._o[pairs_o] - self._e[pairs_e]))))
            if cost < best_cost:
                best, best_cost, shift_s = (pairs_e, pairs_o), *others[-1]
        if best is None or not self._better_than_chance(*best):
            return None
        ambiguous_s = 0.0
        for other, other_s in others:
            apart_s = abs(other_s - shift_s)
            if apart_s > 2 * self._tight and other - best_cost < 1.0 + np.sqrt(best_cost):
                ambiguous_s = max(ambiguous_s, apart_s)
        return Pairs(best[0], self._back[best[1]], ambiguous_s)

    def _votes(self, anchor: slice) -> list[_Candidate]:
        board_s, codes = self._e[anchor], self._e_code[anchor]
        anchor_s = 0.5 * float(board_s[0] + board_s[-1])
        shifts = self._differences(board_s, codes)
        if self._near is not None:
            slack = self._drift * anchor_s + 2 * self._tight
            shifts = shifts[(shifts >= self._near[0] - slack) & (shifts <= self._near[1] + slack)]
        if len(shifts) == 0:
            return []
        shifts.sort()
        width = 2 * self._tight + self._drift * float(board_s[-1] - board_s[0])
        # An hour has millions of shifts: few arrays of their length, and small numbers in it.
        votes = np.empty(len(shifts), dtype=np.int32)
        for first in range(0, len(shifts), _VOTES_AT_ONCE):
            block = shifts[first : first + _VOTES_AT_ONCE]
            until = np.searchsorted(shifts, block + width, side="right")
            votes[first : first + len(block)] = until - np.arange(first, first + len(block))
        found: list[_Candidate] = []
        strong = np.flatnonzero(votes >= max(2, int(0.6 * votes.max())))
        taken = np.zeros(0)
        order = strong[np.argsort(-votes[strong], kind="stable")]
        for k in order[: 40 * _MAX_CANDIDATES].tolist():
            shift_s = float(np.median(shifts[k : k + int(votes[k])]))
            if len(taken) and float(np.min(np.abs(taken - shift_s))) < width:
                continue
            taken = np.append(taken, shift_s)
            found.append(_Candidate(anchor_s, shift_s, unsure=self._drift))
            if len(found) >= _MAX_CANDIDATES:
                break
        return found

    def _differences(self, board_s: Floats, codes: Ints) -> Floats:
        """Trace time less board time of every pair of edges of one code, in no order."""
        partners = [self._by_code.get(int(code), np.zeros(0, dtype=np.int64)) for code in codes]
        shifts = np.empty(sum(len(theirs) for theirs in partners))
        at = 0
        for mine_s, theirs in zip(board_s, partners, strict=True):
            np.subtract(self._o[theirs], mine_s, out=shifts[at : at + len(theirs)])
            at += len(theirs)
        return shifts

    def _follow(self, candidates: list[_Candidate], anchor: slice) -> list[_Candidate]:
        """The best candidates, their lines refined outwards from the anchor for some seconds."""
        half_s = 0.5 * float(self._e[anchor][-1] - self._e[anchor][0])
        reach_s = half_s
        while self._drift * reach_s > 4 * self._tight and reach_s > half_s / 8:
            reach_s /= 2
        last = False
        while candidates and not last:
            last = reach_s >= max(_FOLLOW_S, half_s)
            for candidate in candidates:
                last = self._refine(candidate, reach_s) or last
            if reach_s >= half_s:
                candidates.sort(key=lambda candidate: -candidate.score)
                del candidates[max(2 * _FINALISTS, int(_SURVIVE * len(candidates))) :]
            reach_s *= 2
        return candidates[:_FINALISTS]

    def _refine(self, candidate: _Candidate, reach_s: float) -> bool:
        """Fit the line to the edges within `reach_s` of the anchor; whether these are all edges."""
        low, high = candidate.anchor_s - reach_s, candidate.anchor_s + reach_s
        part = slice(*np.searchsorted(self._e, [low - 1e-9, high + 1e-9]).tolist())
        tolerance_s = 2 * self._tight + candidate.unsure * reach_s
        pairs_e, pairs_o, residual = self._pair(part, candidate.at(self._e[part]), tolerance_s)
        if len(pairs_e) >= 4:
            self._refit(candidate, self._e[pairs_e], self._o[pairs_o])
            candidate.unsure = min(self._drift, 3 * self._tight / max(reach_s, 1e-9))
        # What was seen where nothing was expected counts, before the session and after it too.
        seen = int(np.diff(np.searchsorted(self._o, candidate.at(np.array([low, high]))))[0])
        good = float(np.sum(1.0 - np.minimum(np.abs(residual) / tolerance_s, 1.0) ** 2))
        number = part.stop - part.start
        candidate.score = good - 0.5 * (seen - len(pairs_e)) - 0.5 * (number - len(pairs_e))
        return bool(number == len(self._e))

    def _refit(self, candidate: _Candidate, board_s: Floats, trace_s: Floats) -> None:
        x, y = board_s - candidate.anchor_s, trace_s - board_s
        spread = float(np.sum((x - x.mean()) ** 2))
        skew = float(np.sum((x - x.mean()) * (y - y.mean()))) / spread if spread > 0 else 0.0
        candidate.skew = float(np.clip(skew, -self._drift, self._drift))
        candidate.shift_s = float(np.mean(y - candidate.skew * x))

    def _pair(
        self, part: slice, predicted_s: Floats, tolerance_s: float
    ) -> tuple[Ints, Ints, Floats]:
        """Pairs of nearest edges of equal code within `tolerance_s`, each edge once."""
        codes = self._e_code[part]
        numbers: list[Ints] = []
        others: list[Ints] = []
        for code in np.unique(codes):
            mine = np.flatnonzero(codes == code)
            theirs = self._by_code.get(int(code))
            if theirs is None:
                continue
            times = self._o[theirs]
            right = np.clip(np.searchsorted(times, predicted_s[mine]), 1, max(len(times) - 1, 1))
            left = np.minimum(right - 1, len(times) - 1)
            right = np.minimum(right, len(times) - 1)
            nearer = np.abs(times[left] - predicted_s[mine]) <= np.abs(
                times[right] - predicted_s[mine]
            )
            pick = np.where(nearer, left, right)
            close = np.abs(times[pick] - predicted_s[mine]) <= tolerance_s
            numbers.append(mine[close])
            others.append(theirs[pick[close]])
        if not numbers:
            none = np.zeros(0, dtype=np.int64)
            return none, none, np.zeros(0)
        mine, theirs = np.concatenate(numbers), np.concatenate(others)
        residual = self._o[theirs] - predicted_s[mine]
        order = np.lexsort((np.abs(residual), theirs))
        first = np.append(True, np.diff(theirs[order]) != 0) if len(order) else np.zeros(0, bool)
        keep = np.sort(order[first])
        keep = keep[np.argsort(mine[keep], kind="stable")]
        return mine[keep] + part.start, theirs[keep], residual[keep]

    def _track(self, candidate: _Candidate) -> tuple[Ints, Ints, Floats]:
        """Follow the candidate over all events, block by block; the drift may change slowly."""
        start = int(np.searchsorted(self._e, candidate.anchor_s))
        parts: list[tuple[Ints, Ints, Floats]] = []
        for direction in (1, -1):
            line = _Candidate(candidate.anchor_s, candidate.shift_s, candidate.skew)
            known_s, at = candidate.anchor_s, start
            while 0 <= at < len(self._e) if direction > 0 else at > 0:
                part = self._block(at, direction)
                at = part.stop if direction > 0 else part.start
                far_s = float(np.max(np.abs(self._e[part] - known_s)))
                # Past matched edges the drift is known to some millionths, not to the full bound.
                tolerance_s = 2 * self._tight + min(0.1 * self._drift * far_s, 10 * self._tight)
                found = self._pair(part, line.at(self._e[part]), tolerance_s)
                if len(found[0]) >= 4:
                    local = _Candidate(line.anchor_s, line.shift_s, line.skew)
                    self._local_fit(local, found)
                    found = self._pair(part, local.at(self._e[part]), 2 * self._tight)
                    line = local
                    known_s = float(self._e[part][-1 if direction > 0 else 0])
                parts.append(found)
        joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        return joined[0][order], joined[1][order], joined[2][order]

    def _block(self, at: int, direction: int) -> slice:
        edge_s = self._e[at] if direction > 0 else self._e[at - 1]
        far = int(np.searchsorted(self._e, edge_s + direction * _BLOCK_S))
        if direction > 0:
            return slice(at, max(at + 1, min(at + _BLOCK_EDGES, far)))
        return slice(min(at - 1, max(at - _BLOCK_EDGES, far)), at)

    def _local_fit(self, line: _Candidate, found: tuple[Ints, Ints, Floats]) -> None:
        """Move the line onto the block; its slope follows by what the block's length can tell."""
        board_s, residual = self._e[found[0]], found[2]
        middle_s = float(np.mean(board_s))
        x = board_s - middle_s
        spread = float(np.sum(x**2))
        steps = max(float(board_s[-1] - board_s[0]), 1e-9)
        turn = float(np.sum(x * residual)) / spread if spread > 0 else 0.0
        weight = steps / (steps + 5.0)  # short blocks say little about the slope
        shift_s = line.shift_s + line.skew * (middle_s - line.anchor_s) + float(np.mean(residual))
        line.anchor_s, line.shift_s = middle_s, shift_s
        line.skew = float(np.clip(line.skew + weight * turn, -self._drift, self._drift))

    def _unmatched(self, pairs_e: Ints, pairs_o: Ints) -> float:
        """Edges of either side without a partner, where the other side could have one.

        Events beyond the trace's first and last edge count as well: what they belong to is absent.
        """
        seen = np.searchsorted(
            self._o,
            [
                self._o[pairs_o[0]] - (self._e[pairs_e[0]] - self._e[0]) - self._tight,
                self._o[pairs_o[-1]] + (self._e[-1] - self._e[pairs_e[-1]]) + self._tight,
            ],
        )
        return float(len(self._e) - len(pairs_e) + int(seen[1] - seen[0]) - len(pairs_o))

    def _better_than_chance(self, pairs_e: Ints, pairs_o: Ints) -> bool:
        span_s = float(self._o[-1] - self._o[0]) + 2 * self._tight
        low, high = self._e[pairs_e[0]], self._e[pairs_e[-1]]
        inside = (self._e >= low) & (self._e <= high)
        chance = 0.0
        for code, theirs in self._by_code.items():
            number = int(np.count_nonzero(inside & (self._e_code == code)))
            chance += number * -np.expm1(-len(theirs) * 4 * self._tight / span_s)
        matched = len(pairs_e)
        enough = matched >= 0.5 * int(np.count_nonzero(inside)) and matched >= 0.3 * len(self._e)
        return enough and matched > chance + 3.0 * float(np.sqrt(chance)) + 1.0
