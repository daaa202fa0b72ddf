"""Errors that a user can act on.

    AsymformerError
    ├── CheckpointError    a weights file is wrong, truncated, foreign or missing
    ├── FrameError         an image, message or recorded frame cannot become an RgbdFrame
    ├── BackendError       an inference backend cannot run, or failed while running
    ├── DependencyError    a library that is needed is not installed, or fails to load
    └── ConfigurationError a parameter, argument or label set does not make sense

Each message says what came, what was expected and what to do. The command line and the nodes print it
without a traceback; every other exception is a defect of this package and keeps its traceback.
"""


class AsymformerError(Exception):
    """Base of all errors that this package raises for a user's input or machine."""


class CheckpointError(AsymformerError):
    """A weights file is wrong, truncated, foreign or missing."""


class FrameError(AsymformerError):
    """An image, message or recorded frame cannot become an RgbdFrame."""


class BackendError(AsymformerError):
    """An inference backend cannot run here, or failed while running."""


class DependencyError(AsymformerError):
    """A library that is needed is not installed here, or fails to load; `asymformer_ros.optional` raises it."""


class ConfigurationError(AsymformerError):
    """A parameter, argument or label set does not make sense."""
