"""One camera of the node: its input and output topics, and how it fares."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from asymformer_ros.models.card import ModelCard
from asymformer_ros.node.health import Health
from asymformer_ros.node.inputs import Inputs, Pair
from asymformer_ros.node.outputs import Outputs
from asymformer_ros.node.parameters import Settings


class Camera:
    """Outputs from the start, inputs while it is active. `name` comes before its topics; "" adds nothing."""

    def __init__(self, node: Node, name: str, card: ModelCard) -> None:
        self.name = name
        self._node, self._prefix = node, f"{name}/" if name else ""
        self.health = Health(node.get_logger())
        self.outputs = Outputs(node, self._prefix, card)
        self.inputs: Inputs | None = None

    def activate(self, settings: Settings, on_pair: Callable[[Pair], None]) -> str:
        """Subscribe; returns what it listens to, for the log."""
        self.health.restart()
        self.outputs.publish_label_info(settings.min_confidence)
        self.inputs = Inputs(self._node, self._prefix, settings, self.health, on_pair)
        return self.inputs.description

    def deactivate(self) -> None:
        """Unsubscribe."""
        if self.inputs is not None:
            self.inputs.destroy()
            self.inputs = None

    def restart(self) -> None:
        """Forget what waits and what was measured: time has jumped."""
        self.health.restart()
        if self.inputs is not None:
            self.inputs.reset()
