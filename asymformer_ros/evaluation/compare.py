"""Where two reports differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.evaluation.confusion import percent
from asymformer_ros.system.files import parse_json

_SCORES = ("mean_iou", "mean_iou_present", "mean_accuracy", "pixel_accuracy")
_FACTS = ("model", "backend", "data", "split", "frames", "settings", "package_version")
_GROUPS = ("by_depth", "by_camera", "missing_depth")

Report = Mapping[str, Any]


def compare(first: Path, second: Path) -> Iterator[str]:
    """Lines about two report.json files: what differs in what was done, then all scores, the largest change first.

    Raises ConfigurationError where one of them cannot be read.
    """
    a, b = _read(first), _read(second)
    yield f"A {first}"
    yield f"B {second}"
    for name in _FACTS:
        if a.get(name) != b.get(name):
            yield f"{name}: {_told(a.get(name))} and {_told(b.get(name))}"
    yield ""
    yield f"{'%':34}{'A':>8}{'B':>8}{'B - A':>9}"
    for name in _SCORES:
        yield _line(name.replace("_", " "), a[name], b[name])
    yield _line("calibration error", *((one.get("calibration") or {}).get("ece") for one in (a, b)))
    for group in _GROUPS:
        theirs, ours = a.get(group, {}), b.get(group, {})
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            shares = (one.get(name, {}).get("mean_iou_present") for one in (theirs, ours))
            yield _line(f"mean iou present, {name}", *shares)
    yield from _classes(a["class_iou"], b["class_iou"])


def _classes(a: Mapping[str, float | None], b: Mapping[str, float | None]) -> Iterator[str]:
    names = [*a, *(name for name in b if name not in a)]
    for name in sorted(names, key=lambda name: -abs((b.get(name) or 0) - (a.get(name) or 0))):
        if a.get(name) is not None or b.get(name) is not None:
            yield _line(name, a.get(name), b.get(name))


def _line(name: str, a: float | None, b: float | None) -> str:
    change = "" if a is None or b is None else f"{(b - a) * 100:+9.2f}"
    return f"{name:34}{percent(a):>8}{percent(b):>8}{change}"


def _told(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _read(path: Path) -> Report:
    try:
        report = parse_json(path.read_text(encoding="utf-8"))
        if all(isinstance(report[name], float | int) for name in _SCORES) and isinstance(report["class_iou"], dict):
            return report  # type: ignore[no-any-return]
    except OSError as error:
        raise ConfigurationError(f"cannot read '{path}': {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigurationError(f"'{path}' is no report: expected a report.json that `asymformer evaluate` wrote")
