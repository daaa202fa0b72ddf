"""What the node tells of itself: counts, rates, ages and stage times, once a second on /diagnostics."""

from __future__ import annotations

import re
import traceback
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from functools import partial
from time import monotonic

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.impl.rcutils_logger import RcutilsLogger

from asymformer_ros.errors import AsymformerError, FrameError
from asymformer_ros.findings import Finding, worst
from asymformer_ros.node.rate import Rate

WINDOW = 300
"""Number of newest frames over which percentiles are taken."""

_MAX_EXPLANATIONS = 50
_LONGEST = 1000
"""Characters of an explanation that are told: a message's own texts may be of any length."""

_WORK = ("convert", "preprocess", "inference", "postprocess", "publish")
"""Stages of a frame that follow one another on the worker's thread."""

_SERVED = ("published", "replaced", "unwanted", "of colour alone")
_LOST = ("refused", "stale", "failed")
_SAID_WITH_THE_FRAME = ("refused", "negative-stamp-colour", "negative-stamp-depth")
_LEVELS = {"ok": DiagnosticStatus.OK, "warning": DiagnosticStatus.WARN, "error": DiagnosticStatus.ERROR}


class Health:
    """Counts what happened to every frame and turns it into one diagnostic status.

    A frame that is lost is counted under "refused" (its messages cannot be used), "stale" (older than max_age),
    "failed" (the network did not answer), "replaced" (a newer pair came first, which is normal where the camera is
    faster than the network) or "unwanted" (nobody subscribes, or `enabled` is false). Each explanation is logged once.
    Any thread may count; one thread reports.
    """

    def __init__(self, logger: RcutilsLogger, clock: Callable[[], float] = monotonic) -> None:
        self._logger, self._clock = logger, clock
        self.colour, self.depth, self.pairs, self.published = (Rate(clock) for _ in range(4))
        self.counts: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._explained: set[str] = set()
        self._last_loss = ""
        self._times: defaultdict[str, deque[float]] = defaultdict(partial(deque, maxlen=WINDOW))
        self.findings: list[Finding] = []
        self.depth_coverage: float | None = None
        """Share of the newest depth image that is known, 0..1."""
        self._depth_lacks = False

    def lost(self, kind: str, explanation: str) -> bool:
        """Count a lost frame and log why, once for explanations that differ only in their numbers: then True."""
        self.counts[kind] += 1
        self._last_loss = explanation[:_LONGEST]
        return self.note(_loss(kind, explanation))

    def raised(self, error: Exception) -> None:
        """Count the frame that an exception has cost; a defect of this package keeps its traceback in the log."""
        if isinstance(error, FrameError):
            self.lost("refused", str(error))
        elif isinstance(error, AsymformerError):
            self.lost("failed", str(error))
        elif self.lost("failed", f"{type(error).__name__}: {error}"):
            self._logger.error("".join(traceback.format_exception(error)))

    def note(self, explanation: str) -> bool:
        """Log a warning once; explanations that differ only in their numbers are the same. Returns whether it did."""
        explanation = explanation if len(explanation) <= _LONGEST else f"{explanation[:_LONGEST]}..."
        key = re.sub(r"\d+", "#", explanation)
        if key in self._explained or len(self._explained) >= _MAX_EXPLANATIONS:
            return False
        self._explained.add(key)
        self._logger.warning(explanation)
        return True

    def found(self, finding: Finding, begins: bool, camera: str = "") -> None:
        """Log a finding of the sync doctor when it begins, and when it is over. camera: comes before the sentence."""
        if not begins:
            self._logger.info(f"{camera}solved: {finding.text}")
        elif finding.cause in _SAID_WITH_THE_FRAME:
            self.note(_loss("refused", finding.text))
        elif finding.severity == "error":  # a line each: rclpy lets no line of code log with two severities
            self._logger.error(f"{camera}{finding.sentence}")
        elif finding.severity == "warning":
            self._logger.warning(f"{camera}{finding.sentence}")
        else:
            self._logger.info(f"{camera}{finding.sentence}")

    def paired(self, offset_ns: int) -> None:
        """Count a pair. offset_ns: stamp of depth less stamp of colour."""
        self.pairs.tick()
        self._keep("pair offset", abs(offset_ns) * 1e-6)

    def unwanted(self) -> None:
        """Count a pair that nobody wants segmented."""
        self.counts["unwanted"] += 1

    def depth_lacks(self) -> None:
        """Tell that colour is segmented alone, once until depth comes again."""
        self.counts["of colour alone"] += 1
        if not self._depth_lacks:
            self._depth_lacks = True
            self._logger.warning(self._colour_alone())

    def depth_came(self) -> None:
        """Tell that depth comes again."""
        if self._depth_lacks:
            self._depth_lacks = False
            self._logger.info("depth comes again: segmenting colour and depth")

    def _colour_alone(self) -> str:
        return f"no depth for {self.depth.silence():.1f} s: segmenting colour alone"

    def replaced(self) -> None:
        """Count a pair that made way for a newer one."""
        self.counts["replaced"] += 1

    def served(self, milliseconds: dict[str, float]) -> None:
        """Count a published frame with its age and stage times."""
        self.published.tick()
        self.counts["published"] += 1
        for stage, value in milliseconds.items():
            self._keep(stage, value)

    def _keep(self, name: str, milliseconds: float) -> None:
        self._times[name].append(milliseconds)

    def medians(self) -> dict[str, float]:
        """Of the age and the stage times of the newest frames, milliseconds."""
        return {stage: float(np.median(values)) for stage, values in self._times.items()}

    def network_lags(self, rate: float) -> bool:
        """Whether, in the last 10 s, fewer labels per second than `rate` were published because of the network.

        That is where a frame took longer than there is for one, and the network most of it: not where the camera is
        slow, nobody listens, or something else takes the time.
        """
        count = self.published.recent()
        if not 0 < self.published.per_second() < rate:
            return False
        took = {stage: float(np.median(list(self._times[stage].copy())[-count:])) for stage in _WORK}
        whole = sum(took.values())
        return whole > 1e3 / rate and took["inference"] > whole / 2

    def restart(self) -> None:
        """Forget ages and stage times: time has jumped, or the node starts anew."""
        self._times.clear()
        self.depth_coverage = None
        self._depth_lacks = False
        for rate in (self.colour, self.depth, self.pairs, self.published):
            rate.restart()

    def report(self, name: str, facts: dict[str, str], *, expects_frames: bool) -> DiagnosticStatus:
        """One status: the level tells of the time since the last report, the counts of the whole run.

        facts: shown before the figures. expects_frames: whether silent inputs are worth a warning.
        """
        values = {
            **facts,
            "colour rate (Hz)": f"{self.colour.per_second():.1f}",
            "depth rate (Hz)": f"{self.depth.per_second():.1f}",
            "pair rate (Hz)": f"{self.pairs.per_second():.1f}",
            "published rate (Hz)": f"{self.published.per_second():.1f}",
            **{f"frames {kind}": str(self.counts[kind]) for kind in (*_SERVED, *_LOST)},
            **self._unpaired(),
            **self._percentiles(),
        }
        if self.depth_coverage is not None:
            values["depth coverage (%)"] = f"{100 * self.depth_coverage:.0f}"
        values |= {f"doctor: {finding.cause}": finding.sentence for finding in self.findings}
        if self._last_loss:
            values["last lost frame"] = self._last_loss
        level, text = self._judge(expects_frames)
        self._reported = self.counts.copy()
        return _status(level, name, text, values)

    def _judge(self, expects_frames: bool) -> tuple[bytes, str]:
        fresh = {kind: self.counts[kind] - self._reported[kind] for kind in _LOST}
        if any(fresh.values()):
            level = max(_LEVELS["error" if fresh["failed"] else "warning"], _LEVELS[worst(self.findings)])
            told = ", ".join(f"{count} {kind}" for kind, count in fresh.items() if count)
            return level, f"frames lost since the last report: {told}; {self._last_loss}"
        if not expects_frames:
            return DiagnosticStatus.OK, "idle"
        findings = [*self._degraded(), *self.findings]
        grave = worst(findings) != "ok"
        told = "; ".join(finding.text for finding in findings if not grave or finding.severity != "ok")
        return _LEVELS[worst(findings)], told or "segmenting"

    def _degraded(self) -> list[Finding]:
        return [Finding("warning", "rgb-only", self._colour_alone())] if self._depth_lacks else []

    def _unpaired(self) -> dict[str, str]:
        """Of the whole run; those that still wait for their partner count, too."""
        lone = {"colour": self.colour.total - self.counts["of colour alone"], "depth": self.depth.total}
        return {f"{name} images without a pair": str(max(0, n - self.pairs.total)) for name, n in lone.items()}

    def _percentiles(self) -> dict[str, str]:
        told = {}
        for stage, values in list(self._times.items()):
            p50, p95, p99 = np.percentile(np.array(values.copy()), (50, 95, 99))
            told[f"{stage} p50/p95/p99 (ms)"] = f"{p50:.1f} / {p95:.1f} / {p99:.1f}"
        return told


def idle_status(name: str, facts: dict[str, str]) -> DiagnosticStatus:
    """Status of a node that has no camera yet: it is not configured."""
    return _status(DiagnosticStatus.OK, name, "not configured", facts)


def _loss(kind: str, explanation: str) -> str:
    return f"frame {kind}: {explanation} (said once; /diagnostics counts the rest)"


def _status(level: bytes, name: str, text: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, values=pairs)
