"""What the suite's figures should be, on two cores that do nothing else, and which of them are met."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from measuring import PUBLISHED, shown, table

_EAGER, _TORCH, _FP32, _INT8, _BF16 = (
    *("eager", "torch cpu fp32", "onnxruntime cpu fp32"),
    *("onnxruntime cpu int8", "openvino cpu bf16"),
)
_RATIOS = ((PUBLISHED, _FP32, 0.60), (PUBLISHED, _BF16, 0.36), (PUBLISHED, _INT8, 0.37), ("demo", _FP32, 0.60))
_RATIOS += (("rooms", _FP32, 0.60),)
_BUSY_RATIO = 2.2
_FRAME_PATH = {
    "640x480": {"labels": 0.05, "overlay": 0.06, "all": 0.15},
    "1280x720": {"labels": 0.12, "overlay": 0.14, "all": 0.20},
}
_CLOUD_RATIO = 5.0
_LABELS_HZ, _AGE_P50, _AGE_P99, _PUBLISHED_AGE = 29.7, 40.0, 60.0, 25.0
_AGE_SLOPE, _MEMORY_SLOPE = 20.0, 1.0
"""ms and MiB a second: a queue without an end would add hundreds of ms, and each waiting 640x480 pair 1.5 MiB."""
_FAIR = 0.8
_HELP, _SEGMENTING, _FIRST_LABEL = 0.12, 0.7, 1.5
_IDLE_CORES, _RSS, _GAPS = 0.01, 650.0, 2.0


@dataclass(frozen=True)
class Goal:
    """A figure and the most that it should be, or the least. value: None where it was not measured."""

    part: str
    name: str
    value: float | None
    limit: float
    unit: str = ""
    least: bool = False

    @property
    def met(self) -> bool | None:
        """None where it is not known."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.least else self.value <= self.limit

    def row(self) -> tuple[str, ...]:
        """Part, figure, measured, goal, met."""
        value = "not measured" if self.value is None else f"{self.value:.4g} {self.unit}".strip()
        sign = "at least" if self.least else "at most"
        met = {None: "unknown", True: "yes", False: "**no**"}[self.met]
        return self.part, self.name, value, f"{sign} {self.limit:.4g} {self.unit}".strip(), met


def goals(parts: Mapping[str, Mapping[str, Any]]) -> list[Goal]:
    """All goals, by the figures of the parts that were measured."""
    found = {name: part.get("figures") or {} for name, part in parts.items()}
    figures = {
        name: found.get(name, {}) for name in ("network", "frame_path", "overload", "scaling", "startup", "memory")
    }
    return [
        *_network(figures["network"].get("rows", ())),
        *_frame_path(figures["frame_path"]),
        *_freshness(figures["overload"].get("rows", ())),
        *_queues(figures["overload"].get("rows", ())),
        *_fairness(figures["scaling"].get("rows", ())),
        *_startup(figures["startup"]),
        *_memory({row["model"]: row for row in figures["memory"].get("rows", ())}),
    ]


def told(found: Iterable[Goal]) -> str:
    """The table in Markdown."""
    return table(("part", "figure", "measured", "goal", "met"), [goal.row() for goal in found])


def _network(rows: Sequence[Mapping[str, Any]]) -> Iterator[Goal]:
    found = {(row["model"], row["backend"], row["busy"]): row for row in rows}
    for model, backend, limit in _RATIOS:
        ratio = found.get((model, backend, 0), {}).get("wall_ratio")
        yield Goal("network", f"{shown(model)}, {backend}: time to eager PyTorch's", ratio, limit)
    for (model, backend, busy), row in found.items():
        idle = found.get((model, backend, 0))
        if busy == 0 and backend in (_TORCH, _FP32):
            yield Goal("network", f"{shown(model)}, {backend}: labels as eager", row["same_labels"], 0.9999, least=True)
        if busy and idle and backend != _EAGER:
            ratio = row["wall_ms"] / idle["wall_ms"]
            yield Goal("network", f"{shown(model)}, {backend}: beside {busy} busy loops to idle", ratio, _BUSY_RATIO)


def _frame_path(figures: Mapping[str, Any]) -> Iterator[Goal]:
    found = {(row["size"], row["outputs"]): row["ratio"] for row in figures.get("rows", ())}
    for size, limits in _FRAME_PATH.items():
        for outputs, limit in limits.items():
            yield Goal("frame_path", f"{size}, {outputs}: time to a plain node's", found.get((size, outputs)), limit)
    for row in figures.get("points", ()):
        yield Goal("frame_path", f"{row['size']}, points: time to a copy of their bytes", row["ratio"], _CLOUD_RATIO)


def _freshness(rows: Sequence[Mapping[str, Any]]) -> Iterator[Goal]:
    found = {(row["model"], row["camera_hz"], row["busy_loops"]): row for row in rows}
    row = found.get(("demo", 30.0, 0), {})
    yield Goal("overload", "demo at 30 Hz: labels", row.get("labels_hz"), _LABELS_HZ, "Hz", least=True)
    yield Goal("overload", "demo at 30 Hz: age p50", row.get("age_p50_ms"), _AGE_P50, "ms")
    yield Goal("overload", "demo at 30 Hz: age p99", row.get("age_p99_ms"), _AGE_P99, "ms")
    row = found.get((PUBLISHED, 30.0, 0))
    beyond = row and row["age_p99_ms"] - row["inference_ms"]
    yield Goal("overload", "published at 30 Hz: age p99 beyond inference", beyond, _PUBLISHED_AGE, "ms")


def _queues(rows: Sequence[Mapping[str, Any]]) -> Iterator[Goal]:
    for row in rows:
        name = f"{shown(row['model'])} at {row['camera_hz']:g} Hz beside {row['busy_loops']} busy loops"
        yield Goal("overload", f"{name}: ages grow", row["age_slope_ms_per_s"], _AGE_SLOPE, "ms/s")
        yield Goal("overload", f"{name}: memory grows", row["memory_slope_mib_per_s"], _MEMORY_SLOPE, "MiB/s")


def _fairness(rows: Sequence[Mapping[str, Any]]) -> Iterator[Goal]:
    for row in rows:
        if len(row["cameras_hz"]) > 1:
            rates = ", ".join(f"{rate:g}" for rate in row["cameras_hz"])
            name = f"cameras of {rates} Hz on {row['cores_given']} cores: worst camera's part of its fair rate"
            yield Goal("scaling", name, row["least_share"], _FAIR, least=True)


def _startup(figures: Mapping[str, Any]) -> Iterator[Goal]:
    helps = {name: value for name, value in figures.get("help_s", {}).items() if name != "interpreter"}
    slowest = max(helps, key=lambda name: helps[name], default="")
    node = figures.get("node_s", {}).get("profile", {})
    yield Goal("startup", f"slowest --help ({slowest or 'of all'})", helps.get(slowest), _HELP, "s")
    yield Goal("startup", "demo: node to segmenting", node.get("segmenting"), _SEGMENTING, "s")
    yield Goal("startup", "demo: node to first label", node.get("first_label"), _FIRST_LABEL, "s")


def _memory(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Goal]:
    for model in ("demo", PUBLISHED):
        row, name = rows.get(model, {}), shown(model)
        yield Goal("memory", f"{name}: cores while nobody listens", row.get("idle_cores"), _IDLE_CORES)
        if row:
            due = row["period_ms"] + row["inference_ms"]
            yield Goal("memory", f"{name}: first label after a subscriber", row["first_label_ms"], due, "ms")
        yield Goal("memory", f"{name}: memory with labels", row.get("labels_rss_mib"), _RSS, "MiB")
        yield Goal("memory", f"{name}: memory with confidence", row.get("confidence_rss_mib"), _RSS, "MiB")
        gaps = row and row["longest_gap_as_confidence_comes_ms"] / row["usual_gap_ms"]
        yield Goal("memory", f"{name}: longest time without labels as confidence comes, in frames", gaps or None, _GAPS)
