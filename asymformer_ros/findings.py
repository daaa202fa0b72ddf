"""What a check found: how bad it is, what it is called, a sentence, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from asymformer_ros.errors import ConfigurationError

SEVERITIES = ("ok", "warning", "error")
"""From good to bad."""


@dataclass(frozen=True)
class Finding:
    """One answer of a check. cause: a short name that stays the same, for scripts; advice: what to do, "" for nothing.

    Raises ConfigurationError for a severity that is not one of SEVERITIES.
    """

    severity: str
    cause: str
    text: str
    advice: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ConfigurationError(f"severity is '{self.severity}': expected one of {', '.join(SEVERITIES)}")

    @property
    def sentence(self) -> str:
        """Text and advice in one line, for a log."""
        return f"{self.text}: {self.advice}" if self.advice else self.text

    def to_json(self) -> dict[str, str]:
        """Its fields by name."""
        return asdict(self)


def worst(findings: Iterable[Finding]) -> str:
    """The worst severity among them; "ok" where there are none."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default="ok")
