"""What the package logs, in the node's own log."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger

_PACKAGE = logging.getLogger("asymformer_ros")
_SERVING = ("asymformer_ros.inference", "asymformer_ros.engine")


class PackageLog(logging.Handler):
    """Hands what the package logs to a node's logger. Warnings of inference and engine say why something less than the
    best serves: `on_fallback` hears them, too.
    """

    def __init__(self, logger: RcutilsLogger, on_fallback: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._logger, self._on_fallback = logger, on_fallback
        _PACKAGE.addHandler(self)
        _PACKAGE.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        if record.levelno < logging.WARNING:
            self._logger.info(record.getMessage())
            return
        self._logger.warning(record.getMessage())
        if record.name.startswith(_SERVING):
            self._on_fallback(record.getMessage())

    def close(self) -> None:
        """See logging.Handler."""
        _PACKAGE.removeHandler(self)
        super().close()
