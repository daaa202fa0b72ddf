"""The segmentation node: wires inputs, worker, segmenter and outputs into a lifecycle node."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from asymformer_ros.errors import AsymformerError
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.inference.selection import ServingOptions, open_serving
from asymformer_ros.inference.upgrading import progress_of
from asymformer_ros.node.camera import Camera
from asymformer_ros.node.frame_path import FramePath
from asymformer_ros.node.health import Health, idle_status
from asymformer_ros.node.inputs import Pair
from asymformer_ros.node.parameters import SPECS, declare, validate
from asymformer_ros.node.process import run_process, spin
from asymformer_ros.node.worker import Worker

_LOGGER = logging.getLogger("asymformer_ros")


class SegmentationNode(LifecycleNode):
    """Subscribes to colour and depth, publishes labels; configure loads the model, activate subscribes."""

    def __init__(self) -> None:
        self._log: _PackageLog | None = None
        super().__init__("segmentation_node")
        self.settings = declare(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._backend: InferenceBackend | None = None
        self._fallbacks: deque[str] = deque(maxlen=5)
        self._cameras: list[Camera] = []
        self._worker: Worker[Pair] | None = None
        self._own_health = Health(self.get_logger())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._log = _PackageLog(self)
        jump = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jump_handle = self.get_clock().create_jump_callback(jump, post_callback=self._on_time_jump)

    def start(self) -> bool:
        """Configure and activate where `autostart` says so; returns False where that did not work."""
        if not self.settings.autostart:
            return True
        return all(
            transition() == TransitionCallbackReturn.SUCCESS
            for transition in (self.trigger_configure, self.trigger_activate)
        )

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and advertise the outputs."""
        return self._transition(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the camera and start the worker."""
        return self._transition(self._activate)

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
    def failure(self) -> BaseException | None:
        """What has ended the thread that segments, though nothing should."""
        return self._worker.failure if self._worker else None

    def on_callback_error(self, error: Exception) -> None:
        """Account for a message that cannot be read and for what a callback raised."""
        self._own_health.raised(error)

    def destroy_node(self) -> None:
        """See Node."""
        if self._log is not None:
            self._log.close()
        super().destroy_node()

    def release(self) -> None:
        """Stop serving and free the model; safe in every state."""
        self._deactivate()
        for camera in self._cameras:
            camera.outputs.destroy()
        self._cameras = []
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _transition(self, action: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            action()
        except AsymformerError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:  # rclpy would swallow it without a word
            self.get_logger().fatal(traceback.format_exc())
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        self._fallbacks.clear()
        settings = self.settings
        start = perf_counter()
        options = ServingOptions(
            backend=settings.backend,
            device=settings.device,
            precision=settings.precision,
            precision_report=settings.precision_report,
            engine_cache=settings.engine_cache,
            batch=len(settings.cameras),
        )
        self._backend = open_serving(settings.model, options)
        card = self._backend.card
        self._cameras = [Camera(self, name, card) for name in settings.cameras]
        self.get_logger().info(
            f"model '{card.name}' ({card.label_set.name}, input {card.input_size[1]}x{card.input_size[0]}) on "
            f"{self._backend.name}, loaded in {perf_counter() - start:.1f} s"
        )

    def _activate(self) -> None:
        assert self._backend is not None, "lifecycle: active comes after configured"
        path = FramePath(self, lambda: self.settings, Segmenter(self._backend), self._cameras)
        self._worker = worker = Worker(path.handle, len(self._cameras))
        for slot, camera in enumerate(self._cameras):
            topics = camera.listen(self.settings, partial(self._offer, worker, slot))
            self.get_logger().info(f"segmenting {topics}")

    def _deactivate(self) -> None:
        for camera in self._cameras:
            camera.rest()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _offer(self, worker: Worker[Pair], slot: int, pair: Pair) -> None:
        if self.settings.enabled and worker.mailbox.put(pair, slot):
            self._cameras[slot].health.replaced()

    def on_fallback(self, reason: str) -> None:
        """Keep for /diagnostics why something less than the best serves."""
        self._fallbacks.append(reason)

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

    def _report(self) -> None:
        serving = self._worker is not None
        facts = {
            "state": "active" if serving else "inactive" if self._backend else "unconfigured",
            "model": self._backend.card.name if self._backend else self.settings.model,
            "backend": self._backend.name if self._backend else "none",
        }
        if self._backend and progress_of(self._backend):
            facts["engine"] = progress_of(self._backend)
        if self._fallbacks:
            facts["fallback"] = "; ".join(self._fallbacks)
        if self._own_health.counts:
            facts["callbacks failed"] = str(self._own_health.counts.total())
        expects = serving and self.settings.enabled
        statuses = [
            camera.health.report(self._status_name(camera.name), facts, expects_frames=expects)
            for camera in self._cameras
        ]
        if not self._cameras:
            statuses = [idle_status(self._status_name(""), facts)]
        if self.failure is not None:
            for status in statuses:
                status.level, status.message = (
                    DiagnosticStatus.ERROR,
                    f"the thread that segments has ended: {self.failure!r}",
                )
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _status_name(self, camera: str) -> str:
        return f"{self.get_fully_qualified_name()}: segmentation {camera}".rstrip()


class _PackageLog(logging.Handler):
    """What the package logs, in the node's own log; warnings of inference and engine are fallbacks."""

    def __init__(self, node: SegmentationNode) -> None:
        super().__init__(logging.INFO)
        self._node = node
        _LOGGER.addHandler(self)
        _LOGGER.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        if record.levelno < logging.WARNING:
            self._node.get_logger().info(record.getMessage())
            return
        self._node.get_logger().warning(record.getMessage())
        if record.name.startswith(("asymformer_ros.inference", "asymformer_ros.engine")):
            self._node.on_fallback(record.getMessage())

    def close(self) -> None:
        """See logging.Handler."""
        _LOGGER.removeHandler(self)
        super().close()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end. Returns the process's exit code."""
    return run_process("segmentation_node", _serve, args)


def _serve() -> int:
    node = SegmentationNode()
    try:
        if not node.start():
            return 1
        unmanaged = node.settings.autostart  # else it is the manager who decides what follows
        spin(node, lambda: unmanaged and node.failure is not None, node.on_callback_error)
        if unmanaged and node.failure is not None:
            node.get_logger().fatal(f"the thread that segments has ended: {node.failure!r}")
            return 1
    finally:
        node.release()
        node.destroy_node()
    return 0


if __name__ == "__main__":
    sys.exit(main())
