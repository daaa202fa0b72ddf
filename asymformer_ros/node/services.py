"""The node's services: what is asked for is done on a thread of its own, and messages are taken meanwhile."""

from __future__ import annotations

import threading
import traceback
import types
from collections.abc import Callable, Generator, Mapping
from functools import partial

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from asymformer_ros.errors import AsymformerError

_POLL = 0.005  # seconds that the executor waits for an action before it looks after its messages again


class Services:
    """`~/set_enabled`, and a Trigger service for each action.

    An action returns the reply's message, or raises; it runs once at a time.
    """

    def __init__(self, node: Node, actions: Mapping[str, Callable[[], str]]) -> None:
        self._node = node
        self._running: dict[str, threading.Thread] = {}
        group = ReentrantCallbackGroup()  # in the node's own group, an action under way would stop all callbacks
        node.create_service(SetBool, "~/set_enabled", self._set_enabled, callback_group=group)
        for name, action in actions.items():
            node.create_service(Trigger, f"~/{name}", partial(self._trigger, name, action), callback_group=group)

    @property
    def threads(self) -> list[threading.Thread]:
        """Of the actions under way."""
        return [thread for thread in self._running.values() if thread.is_alive()]

    def start(self, name: str, action: Callable[[], str]) -> bool:
        """Do something on the thread of an action, as if it were that one; False where that one is under way."""
        return self._start(name, action, Trigger.Response()) is not None

    def _start(self, name: str, action: Callable[[], str], response: Trigger.Response) -> threading.Thread | None:
        if name in self._running and self._running[name].is_alive():
            return None
        self._running[name] = thread = threading.Thread(
            target=self._act, args=(name, action, response), name=name, daemon=True
        )
        thread.start()
        return thread

    def _set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        result = self._node.set_parameters([Parameter("enabled", value=bool(request.data))])[0]
        response.success = result.successful
        response.message = result.reason or ("frames are segmented" if request.data else "frames are not segmented")
        return response

    async def _trigger(
        self, name: str, action: Callable[[], str], request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        thread = self._start(name, action, response)
        if thread is None:
            response.message = f"{name} is under way: call it again when that has ended"
            return response
        await _end_of(thread)
        return response

    def _act(self, name: str, action: Callable[[], str], response: Trigger.Response) -> None:
        try:
            response.message, response.success = action(), True
        except AsymformerError as error:
            response.message = str(error)
        except Exception as error:  # a defect: the caller hears of it, the log has where
            response.message = f"{type(error).__name__}: {error}"
            self._node.get_logger().error(traceback.format_exc())
        if response.success:  # a line each: rclpy lets no line of code log with two severities
            self._node.get_logger().info(f"{name}: {response.message}")
        else:
            self._node.get_logger().warning(f"{name}: {response.message}")


@types.coroutine
def _end_of(thread: threading.Thread) -> Generator[None, None, None]:
    """Wait for a thread's end. rclpy asks a coroutine that waits again and again, so each time takes a moment."""
    while thread.is_alive():
        thread.join(_POLL)
        yield
