"""The segmentation node: wires inputs, worker, segmenter and outputs into a lifecycle node."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.errors import AsymformerError, BackendError
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.node.camera import Camera
from asymformer_ros.node.diagnostics import Diagnostics
from asymformer_ros.node.frame_path import FramePath
from asymformer_ros.node.hardware import Hardware
from asymformer_ros.node.health import Health, idle_status
from asymformer_ros.node.inputs import Pair
from asymformer_ros.node.package_log import PackageLog
from asymformer_ros.node.parameters import SPECS, declare, validate
from asymformer_ros.node.process import run_process, serve_node
from asymformer_ros.node.rate import Spell
from asymformer_ros.node.services import Services
from asymformer_ros.node.serving import Serving, open_model
from asymformer_ros.node.snapshots import save_next_frames
from asymformer_ros.node.worker import Worker
from asymformer_ros.system.limits import tidy_memory

_PATIENCE = 10.0
"""Seconds for which labels may come less often than `target_rate` before a smaller input size is taken."""


class SegmentationNode(LifecycleNode):
    """Subscribes to colour and depth, publishes labels; configure loads the model, activate subscribes."""

    def __init__(self) -> None:
        self._log: PackageLog | None = None
        super().__init__("segmentation_node")
        self._fallbacks: deque[str] = deque(maxlen=5)
        self._log = PackageLog(self.get_logger(), self._fallbacks.append)
        self.settings = declare(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._serving: Serving | None = None
        self._cameras: list[Camera] = []
        self._worker: Worker[Pair] | None = None
        self._build_context = BuildContext()
        self._cancelled = False
        self._failure = ""
        self._lagging = Spell()
        self._own_health = Health(self.get_logger())
        self._hardware = Hardware()
        self._diagnostics = Diagnostics(self, self._report)
        self.create_timer(0.5, self._examine, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.create_timer(10.0, tidy_memory, clock=Clock(clock_type=ClockType.STEADY_TIME))
        jump = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._actions = Services(self, {"save_snapshot": self._save_snapshot, "reload_model": self._reload_model})
        self._jump_handle = self.get_clock().create_jump_callback(jump, post_callback=self._on_time_jump)

    def start(self) -> None:
        """Configure and activate where `autostart` says so; `failure` says where that did not work."""
        if not self.settings.autostart:
            return
        for transition in (self.trigger_configure, self.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                self._failure = "the node could not be started"
                return

    @property
    def working(self) -> list[threading.Thread]:
        """Threads of services under way."""
        return self._actions.threads

    def cancel_at(self, stop: threading.Event) -> None:
        """Wait for `stop`, then give up a build that a transition waits for, and every later one."""
        stop.wait()
        self._cancelled = True
        self._build_context.cancel()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and advertise the outputs."""
        return self._transition(self._configure, self.release)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the camera and start the worker."""
        return self._transition(self._activate, self._deactivate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop the worker; the model stays loaded."""
        return self._transition(self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and take the outputs down."""
        return self._transition(self.release)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        return self._transition(self.release)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, so that configuring can be tried again."""
        return self._transition(self.release)

    @property
    def failure(self) -> str:
        """Why the process should end with an error; "" for nothing, and always where a lifecycle manager decides."""
        if not self.settings.autostart:
            return ""
        return self._failure or self.dead_thread()

    def dead_thread(self) -> str:
        """What has ended the thread that segments, though nothing should; "" while it lives or none is needed."""
        error = self._worker.failure if self._worker else None
        return "" if error is None else f"the thread that segments has ended: {error!r}"

    def on_callback_error(self, error: Exception) -> None:
        """Account for a message that cannot be read and for what a callback raised."""
        self._own_health.raised(error)

    def destroy_node(self) -> None:
        """See Node."""
        if self._log is not None:
            self._log.close()
        super().destroy_node()

    def release(self) -> None:
        """Stop serving and free the model; safe in every state. A model that is being loaded is given up."""
        self._build_context.cancel()
        self._deactivate()
        for camera in self._cameras:
            camera.outputs.destroy()
        self._cameras = []
        if self._serving is not None:
            self._serving.close()
            self._serving = None

    def _transition(
        self, action: Callable[[], None], undo: Callable[[], None] = lambda: None
    ) -> TransitionCallbackReturn:
        """Do it whole or not at all: where it fails, what it has made goes again."""
        before = {*self.publishers, *self.subscriptions}
        try:
            action()
        except Exception as error:
            undo()
            for publisher in [one for one in self.publishers if one not in before]:
                self.destroy_publisher(publisher)
            for subscription in [one for one in self.subscriptions if one not in before]:
                self.destroy_subscription(subscription)
            if isinstance(error, AsymformerError):
                self.get_logger().error(str(error))
                return TransitionCallbackReturn.FAILURE
            self.get_logger().fatal(traceback.format_exc())  # rclpy would swallow it without a word
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        self._fallbacks.clear()
        start = perf_counter()
        self._serving = Serving(open_model(self.settings, self._new_context()))
        self._cameras = [Camera(self, name, lambda: self.settings.lazy) for name in self.settings.cameras]
        self.get_logger().info(f"{self._serving.description}, loaded in {perf_counter() - start:.1f} s")

    def _new_context(self) -> BuildContext:
        self._build_context = context = BuildContext()
        if self._cancelled:
            context.cancel()
        return context

    def _activate(self) -> None:
        assert self._serving is not None, "lifecycle: active comes after configured"
        path = FramePath(self, lambda: self.settings, self._serving, self._cameras)
        self._worker = worker = Worker(path.handle, len(self._cameras))
        for slot, camera in enumerate(self._cameras):
            topics = camera.activate(
                self.settings, self._serving.segmenter.label_set, partial(self._offer, worker, slot)
            )
            self.get_logger().info(f"segmenting {topics}")

    def _deactivate(self) -> None:
        for camera in self._cameras:
            camera.deactivate()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        tidy_memory()

    def _offer(self, worker: Worker[Pair], slot: int, pair: Pair) -> None:
        if not self.settings.enabled:
            self._cameras[slot].health.unwanted()
        elif worker.mailbox.put(pair, slot):
            self._cameras[slot].health.replaced()

    def _save_snapshot(self) -> str:
        if self._worker is None or not self.settings.enabled:
            raise BackendError("no frame is segmented: the node is not active, or its parameter enabled is false")
        return str(save_next_frames(self._cameras, self.settings.snapshot_folder, lambda: self._cancelled))

    def _reload_model(self) -> str:
        serving = self._serving
        if serving is None:
            raise BackendError("no model is loaded that another could replace: configure the node")
        return f"{self._instead(serving.replace)} serves now"

    def _step_down(self) -> str:
        serving = self._serving
        if serving is None:
            raise BackendError("the node has released its model meanwhile")
        return f"{self._too_few}: {self._instead(serving.step_down)} serves now"

    def _instead(self, take_over: Callable[..., str]) -> str:
        """What serves after this; the reasons why what served before was not the best go with it."""
        before = [*self._fallbacks]
        now = take_over(self.settings, self._new_context(), self._announce)
        for reason in before:
            with contextlib.suppress(ValueError):
                self._fallbacks.remove(reason)
        return now

    def _announce(self, segmenter: Segmenter) -> None:
        for camera in self._cameras:
            camera.outputs.tell_classes(segmenter.label_set, self.settings.min_confidence)

    def _on_parameters(self, parameters: Sequence[Parameter]) -> object:
        result = validate(parameters)
        if result.successful:
            changes = {parameter.name: parameter.value for parameter in parameters if parameter.name in SPECS}
            self.settings = replace(self.settings, **changes)
        return result

    def _on_time_jump(self, jump: TimeJump) -> None:
        self.get_logger().info("time has jumped: waiting messages are dropped")
        for camera in self._cameras:
            camera.restart()
        if self._worker is not None:
            self._worker.mailbox.clear()

    def _examine(self) -> None:
        for camera in self._cameras:
            camera.follow()
            camera.examine(self.settings)
        self._keep_rate()

    def _keep_rate(self) -> None:
        """Take a smaller input size where the network has been too slow for a while, or say that there is none."""
        serving, rate = self._serving, self.settings.target_rate
        if serving is None or self._worker is None or not serving.size_is_chosen:
            return
        lags = not self.working and any(camera.health.network_lags(rate) for camera in self._cameras)
        if self._lagging.seconds(lags) < _PATIENCE:
            return
        if serving.can_step_down:
            if self._actions.start("reload_model", self._step_down):
                self._lagging = Spell()
        elif (text := f"{self._too_few}, and {serving.why_no_smaller}") not in self._fallbacks:
            self._fallbacks.append(text)
            self.get_logger().warning(text)

    @property
    def _too_few(self) -> str:
        return f"fewer than {self.settings.target_rate:g} labels a second for {_PATIENCE:.0f} s"

    def _report(self) -> list[DiagnosticStatus]:
        active, serving = self._worker is not None, self._serving
        facts = {"state": "active" if active else "inactive" if serving else "unconfigured"}
        facts |= serving.facts if serving else {"model": self.settings.model, "backend": "none"}
        if not serving and self._build_context.progress:
            facts["engine"] = self._build_context.progress
        if self._fallbacks:
            facts["fallback"] = "; ".join(dict.fromkeys(self._fallbacks))
        facts |= self._hardware.facts(facts["backend"])
        if self._own_health.counts:
            facts["callbacks failed"] = str(self._own_health.counts.total())
        expects = active and self.settings.enabled
        statuses = [
            camera.health.report(
                f"segmentation {camera.name}".rstrip(),
                {**facts, "temporal smoothing": camera.smooths},
                expects_frames=expects,
            )
            for camera in self._cameras
        ] or [idle_status("segmentation", facts)]
        for status in statuses:
            status.hardware_id = self._hardware.name
            if self.dead_thread():
                status.level, status.message = DiagnosticStatus.ERROR, self.dead_thread()
        return statuses


def main(args: Sequence[str] | None = None, stop: threading.Event | None = None) -> int:
    """Run the node until it is told to end, by `stop` or a signal. Returns the process's exit code."""
    return run_process("segmentation_node", lambda stop: serve_node(SegmentationNode(), stop), args, stop)


if __name__ == "__main__":
    sys.exit(main())
