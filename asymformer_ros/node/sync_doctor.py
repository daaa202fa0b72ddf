"""The sync doctor: why no pairs form, too few, or useless ones, told by name and number. Nothing here knows ROS.

`examine` turns an Observation into findings; `Attention` tells each of them once when it begins and once when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.findings import Finding
from asymformer_ros.node import graph_findings, image_findings, stamp_findings
from asymformer_ros.node.observation import Observation, Stream
from asymformer_ros.node.stamp_findings import BEHIND, ENOUGH, duration

_RATES_APART = 1.5
_NEWEST = 30  # stamps of a stream whose distances to the other one are looked at
_EVERY = 0.5  # seconds between two examinations
TIME_TO_SUBSCRIBE = 5.0
"""Seconds without a subscriber after which the camera's topics are left."""
_FEW = 0.5  # share of the slower stream's messages that should have made pairs


def examine(seen: Observation) -> list[Finding]:
    """Everything that is wrong with what was observed, the cause of most trouble first; empty where all is well."""
    return list(_findings(seen))


def _findings(seen: Observation) -> Iterator[Finding]:
    if seen.colour.topic == seen.depth.topic:
        yield Finding(
            "error",
            "same-topic",
            f"colour and depth are both taken from {seen.colour.topic}",
            "remap rgb/image and depth/image to the camera's two topics",
        )
        return
    alone = [
        finding
        for stream in seen.streams
        for finding in [*graph_findings.of_stream(stream, seen)] or stamp_findings.of_stream(stream, seen)
    ]
    yield from alone
    yield from graph_findings.of_camera_info(seen)
    yield from stamp_findings.of_missing_clock(seen)
    yield from image_findings.of_messages(seen)
    losses = [finding for finding in alone if finding.cause.startswith("lost")]
    if alone == losses:  # else the streams do not stand side by side
        yield from stamp_findings.of_clocks(seen)
        yield from _of_pairing(seen, bool(losses))
    if seen.no_points:
        yield Finding("warning", "no-points", f"segmentation/points is not published: {seen.no_points}")
    if seen.paused or (not seen.listened and seen.now - seen.started > TIME_TO_SUBSCRIBE):
        text = "idle, nobody subscribes to an output"
        yield Finding("ok", "no-subscriber", text, "subscribe to one, such as segmentation/overlay")


def _of_pairing(seen: Observation, losses: bool) -> Iterator[Finding]:
    if not all(stream.flows(seen.now) for stream in seen.streams):
        return
    rates = {stream.name: stream.stamped_rate() for stream in seen.streams}
    slower, faster = sorted(seen.streams, key=lambda stream: rates[stream.name])
    if not rates[slower.name]:
        return
    if not losses and rates[faster.name] > _RATES_APART * rates[slower.name]:
        yield Finding(
            "warning",
            "rates-differ",
            f"colour comes at {rates['colour']:.1f} Hz and depth at {rates['depth']:.1f} Hz: "
            f"at most {rates[slower.name]:.1f} pairs a second",
            "give both streams one rate in the driver",
        )
    late = seen.depth.lag() - seen.colour.lag()
    if abs(late) > BEHIND:
        return  # told as clocks that are apart
    if abs(late) > seen.patience:
        yield _late(late, seen)
    elif _pairs_are_few(seen, rates[slower.name], abs(late)):
        yield _why_few(seen, slower, faster)


def _late(late: float, seen: Observation) -> Finding:
    behind, other = ("depth", "colour") if late > 0 else ("colour", "depth")
    return Finding(
        "error",
        "too-late",
        f"{behind} comes {duration(late)} later than {other} of the same stamp and pair_timeout is "
        f"{duration(seen.patience)}: its partner is gone by then",
        f"set pair_timeout:={abs(late) * 1.2 + 0.1:.1f}, or mend the clock that stamps {behind}",
    )


def _pairs_are_few(seen: Observation, rate: float, late: float) -> bool:
    window = max(1.0, (ENOUGH + 1) / rate)
    since = seen.now - window
    if max(stream.first for stream in seen.streams) + late > since:
        return False
    expected = min(stream.arrived(since) for stream in seen.streams)
    return expected >= ENOUGH and sum(time > since for time in seen.pairs) < _FEW * expected


def _why_few(seen: Observation, slower: Stream, faster: Stream) -> Finding:
    apart = offsets(slower, faster)
    rate = sum(time > seen.now - 1 for time in seen.pairs)
    if not len(apart) or (apart <= seen.slop).mean() > _FEW:
        text = f"{slower.rate():.1f} {slower.name} images a second, but only {rate} pairs"
        return Finding("warning", "few-pairs", text, "see the rates in /diagnostics; the images may come in bursts")
    least, median, most = np.percentile(apart, (5, 50, 95))
    suggested = np.ceil(most * 1.1e3 + 1) * 1e-3
    return Finding(
        "error",
        "offset",
        f"the nearest colour and depth stamps are {duration(least)} to {duration(most)} apart (median "
        f"{duration(median)}) and slop is {duration(seen.slop)}",
        f"synchronise the streams in the driver, or set slop:={suggested:.3f}",
    )


def offsets(stream: Stream, other: Stream) -> NDArray[np.float64]:
    """Distance of each of the newest stamps to the nearest of the other stream, seconds: (n,), of those within the
    other's first and last."""
    stamps, others = np.array(stream.stamps[-_NEWEST:]), np.sort(other.stamps)
    stamps = stamps[(stamps >= others[0]) & (stamps <= others[-1])]
    after = np.clip(np.searchsorted(others, stamps), 1, len(others) - 1)
    return np.minimum(np.abs(others[after] - stamps), np.abs(stamps - others[after - 1])) * 1e-9


@dataclass
class _Known:
    """A cause that has been seen: how often in a row it was there or away, and whether it has been told."""

    finding: Finding
    present: int = 0
    absent: int = 0
    told: bool = False


class Attention:
    """Tells each cause once when it has been found twice in a row, and once more when it is gone for good.

    tell(finding, begins): called with what is to be logged. A cause that comes and goes is told again after
    `quiet` seconds at the earliest. Examinations come every half second; one that is too soon or too late is left out.
    """

    def __init__(self, tell: Callable[[Finding, bool], None], confirm: int = 2, forget: int = 3, quiet: float = 60.0):
        self._tell, self._confirm, self._forget, self._quiet = tell, confirm, forget, quiet
        self._known: dict[str, _Known] = {}
        self._last_told: dict[str, float] = {}
        self._examined, self._held_up = 0.0, False

    @property
    def confirmed(self) -> list[Finding]:
        """What holds now."""
        return [known.finding for known in self._known.values() if known.present >= self._confirm]

    def forget_all_but(self, causes: Collection[str]) -> None:
        """Forget the others, untold: nothing is looked at any more that could say whether they are gone."""
        self._known = {cause: known for cause, known in self._known.items() if cause in causes}

    def update(self, findings: Sequence[Finding], now: float) -> None:
        """Take the findings of the newest examination, made at `now` (seconds)."""
        if not self._in_time(now):
            return
        found = {finding.cause: finding for finding in findings}
        for cause, finding in found.items():
            known = self._known.setdefault(cause, _Known(finding))
            known.finding, known.present, known.absent = finding, known.present + 1, 0
            if known.present == self._confirm and now - self._last_told.get(cause, -self._quiet) >= self._quiet:
                known.told, self._last_told[cause] = True, now
                self._tell(finding, True)
        for cause in [cause for cause in self._known if cause not in found]:
            self._miss(cause)

    def _in_time(self, now: float) -> bool:
        """Whether this examination comes as it should: after a node was held up, messages wait that it has not seen."""
        since, self._examined = now - self._examined if self._examined else _EVERY, now
        self._held_up = since > 2 * _EVERY and not self._held_up
        return since > _EVERY / 2 and not self._held_up

    def _miss(self, cause: str) -> None:
        known = self._known[cause]
        known.absent += 1
        if known.present >= self._confirm and known.absent < self._forget:
            return
        if known.told:
            self._tell(known.finding, False)
        del self._known[cause]
