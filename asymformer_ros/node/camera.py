"""One camera of the node: its input and output topics, and how it fares."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

from rclpy.node import Node

from asymformer_ros.findings import Finding
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.inference.smoothing import TemporalSmoothing
from asymformer_ros.models.labels import LabelSet
from asymformer_ros.node.health import Health
from asymformer_ros.node.inputs import Inputs, Pair
from asymformer_ros.node.outputs import Outputs
from asymformer_ros.node.parameters import Settings
from asymformer_ros.node.sync_doctor import TIME_TO_SUBSCRIBE, Attention, examine

_DEPTH_LASTS = 2.0  # seconds for which the last converted depth image stands for what comes


class Camera:
    """Outputs from the start, inputs while it is active. `name` comes before its topics; "" adds nothing.

    lazy: whether the camera's topics are left while nobody wants an output.
    """

    def __init__(self, node: Node, name: str, lazy: Callable[[], bool] = lambda: True) -> None:
        self.name, self._lazy = name, lazy
        self._node, self._prefix = node, f"{name}/" if name else ""
        self.health = Health(node.get_logger())
        self.inputs: Inputs | None = None
        self._lock = threading.RLock()  # of inputs: transitions, events and timers are in several threads
        self._wanted = 0.0  # when anyone wanted an output last
        self.outputs = Outputs(node, self._prefix, self.follow)
        self.smoothing = TemporalSmoothing()
        self.smooths = "no frame yet"
        """Whether the newest frame's scores were smoothed over time, and why not; the frame path sets it."""
        self.no_points = ""
        """Why the newest frame's points could not be made; the frame path sets it."""
        self._attention = Attention(self._tell)
        self._newest: tuple[float, RgbdFrame | None] = (0.0, None)

    def activate(self, settings: Settings, label_set: LabelSet, on_pair: Callable[[Pair], None]) -> str:
        """Subscribe; returns what it listens to, for the log."""
        self.health.restart()
        self.smoothing.reset()
        self.outputs.tell_classes(label_set, settings.min_confidence)
        self._attention = Attention(self._tell)
        with self._lock:
            self._wanted = monotonic()
            self.inputs = Inputs(self._node, self._prefix, settings, self.health, on_pair)
            return self.inputs.description

    def deactivate(self) -> None:
        """Unsubscribe."""
        with self._lock:
            if self.inputs is not None:
                self.inputs.destroy()
                self.inputs = None

    def follow(self) -> None:
        """Subscribe to the camera where anyone wants an output; leave it where nobody has for TIME_TO_SUBSCRIBE.

        Only so where it is `lazy`; else the camera is never left.
        """
        with self._lock:
            if self.inputs is None:
                return
            if self.outputs.wanted() or not self._lazy():
                self._wanted = monotonic()
                if self.inputs.paused:
                    self.inputs.watch.restart()
                    self.inputs.resume()
            elif not self.inputs.paused and monotonic() - self._wanted > TIME_TO_SUBSCRIBE:
                self.inputs.pause()
                self.health.restart()
                self.smoothing.reset()

    def converted(self, frame: RgbdFrame) -> None:
        """Leave the newest frame, which has depth, for the doctor. Any thread may."""
        self._newest = (monotonic(), frame)

    def examine(self, settings: Settings) -> None:
        """Let the sync doctor look at what came; what it finds goes to the log and to /diagnostics."""
        if self.inputs is None or not settings.enabled:
            self.health.findings = []
            return
        now, (converted, frame) = monotonic(), self._newest
        fresh = frame.depth if frame is not None and now - converted < _DEPTH_LASTS else None
        paused = self.inputs.paused
        seen = self.inputs.watch.observe(
            None if paused else fresh, settings, listened=self.outputs.wanted(), paused=paused
        )
        self.health.depth_coverage = seen.content.known if fresh is not None and seen.content else None
        if fresh is not None:
            seen = replace(seen, no_points=self.no_points)
        findings = examine(seen)
        if paused:
            self._attention.forget_all_but({finding.cause for finding in findings})
        self._attention.update(findings, now)
        self.health.findings = self._attention.confirmed

    def _tell(self, finding: Finding, begins: bool) -> None:
        self.health.found(finding, begins, f"{self.name}: " if self.name else "")

    def restart(self) -> None:
        """Forget what waits and what was measured: time has jumped."""
        self.health.restart()
        if self.inputs is not None:
            self.inputs.reset()
