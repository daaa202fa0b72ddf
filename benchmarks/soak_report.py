"""What came of a soak: its figures, as a Markdown table, as JSON and as a plot."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from measuring import picture
from scipy.stats import theilslopes
from soak_reasons import UNATTRIBUTED, reasons, short

from asymformer_ros.optional import installed

_LAST = 120  # seconds at the end in which a calm frame must have been served
_UNDER_WAY = 3 * 10**9  # ns at the end of what is known


@dataclass
class Soak:
    """All that was seen."""

    seed: int
    rate: float
    model: str
    minutes: float
    start_ns: int = 0
    sent: list[dict[str, Any]] = field(default_factory=list)
    labelled: list[tuple[int, int]] = field(default_factory=list)  # stamp and monotonic time of arrival, ns
    samples: list[tuple[float, float, float, int, int, bool]] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    counts: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    messages: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    crashed: bool = False
    exit_code: int | None = None
    kills: list[int] = field(default_factory=list)  # of the camera, monotonic time, ns
    node_log: Path = Path(os.devnull)
    journal: Path = Path(os.devnull)
    """What soak_node.py writes."""

    @property
    def log(self) -> str:
        """What the node has said up to now."""
        return self.node_log.read_text(errors="replace")

    def sample(self, second: float, calm: bool, process: psutil.Process) -> None:
        """Memory (resident, and of it what is of no file and not shared), threads and file handles of the node now."""
        status = dict(line.split(":") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        resident, own = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
        self.samples.append((second, resident, own, process.num_threads(), process.num_fds(), calm))

    def told(self, status: Any, calm: bool) -> None:
        """Take one report of /diagnostics; what its counts grew by belongs to calm or to faulty times."""
        self.messages[short(status.message.split(";")[0].split(":")[0])] += 1
        values = {value.key: value.value for value in status.values}
        for key, value in values.items():
            if key.startswith("frames "):
                self.counts[calm][key.removeprefix("frames ")] += int(value) - int(self.values.get(key, 0))
        self.values = {**self.values, **values}


def warm_up(soak: Soak) -> float:
    """Seconds at the beginning that do not count for the slope: ten minutes, a third of a short run."""
    return min(600.0, soak.minutes * 20)


def calm_memory(soak: Soak, column: int) -> dict[int, float]:
    """The lowest of each calm minute after the warm-up, MiB, by the minute. column: 1 resident, 2 own.

    The lowest, for a frame in the making and what the node has not yet given back come and go; what leaks stays.
    """
    lowest: dict[int, float] = {}
    for sample in soak.samples:
        if sample[0] >= warm_up(soak) and sample[5]:
            minute = int(sample[0] // 60)
            lowest[minute] = min(sample[column], lowest.get(minute, float("inf")))
    return lowest


def slope_per_hour(soak: Soak, column: int) -> str:
    """MiB an hour of the calm minutes' memory, and its 95 % interval: the median of the slopes between any two.

    By Theil and Sen, for DDS's buffers lift single minutes.
    """
    lowest = calm_memory(soak, column)
    if len(lowest) < 4:
        return "not known"
    slope, _, low, high = theilslopes(list(lowest.values()), [minute / 60 for minute in lowest])
    return f"{slope:.2f} ({low:.2f} to {high:.2f})"


def figures(soak: Soak) -> dict[str, Any]:
    """All figures as JSON values; ages in milliseconds from sending to arrival."""
    arrived = {}
    for stamp, at in soak.labelled:
        arrived.setdefault(stamp, at)
    good = [one for one in soak.sent if not one["faults"]]
    rows = {
        "calm": [one for one in good if one["calm"]],
        "between faults": [one for one in good if not one["calm"]],
        "with faults": [one for one in soak.sent if one["faults"]],
    }
    faults = Counter(fault for one in soak.sent for fault in one["faults"])
    served = Counter(fault for one in soak.sent for fault in one["faults"] if one["stamp"] in arrived)
    return {
        "minutes": round(soak.samples[-1][0] / 60, 1) if soak.samples else 0.0,
        "seed": soak.seed,
        "rate_hz": soak.rate,
        "model": soak.model,
        "backend": soak.values.get("backend", ""),
        "crashes": int(soak.crashed),
        "exit_code": soak.exit_code,
        "tracebacks": soak.log.count("Traceback"),
        "frames": {name: _frames(sent, arrived) for name, sent in rows.items()},
        "counted_by_the_node": {"calm": dict(soak.counts[True]), "faulty": dict(soak.counts[False])},
        "reasons": _reasons(soak, set(arrived)),
        "diagnostics": dict(soak.messages.most_common(20)),
        "memory_mib": _memory(soak),
        "threads": _range(soak, 3),
        "file_handles": _range(soak, 4),
        "faults": {name: {"sent": faults[name], "labelled": served[name]} for name in sorted(faults)},
        "troubles": dict(soak.troubles.most_common()),
    }


def _frames(sent: list[dict[str, Any]], arrived: dict[int, int]) -> dict[str, Any]:
    ages = [(arrived[one["stamp"]] - one["at"]) * 1e-6 for one in sent if one["stamp"] in arrived]
    told = [round(float(value), 1) for value in np.percentile(ages, (50, 95, 99))] if ages else [None] * 3
    return {"sent": len(sent), "labelled": len(ages), "age_ms_p50_p95_p99": told}


def _reasons(soak: Soak, labelled: set[int]) -> dict[str, dict[str, int]]:
    """Why frames have no labels, in calm and in faulty times; those that may still be under way are left out."""
    newest = max((one["at"] for one in soak.sent), default=0) - _UNDER_WAY
    told: dict[str, dict[str, int]] = {}
    for name, calm in (("calm", True), ("faulty", False)):
        frames = [one for one in soak.sent if one["calm"] == calm and one["at"] < newest]
        for reason, count in reasons(frames, labelled, soak.journal, soak.kills).items():
            told.setdefault(reason, {"calm": 0, "faulty": 0})[name] = count
    told.setdefault(UNATTRIBUTED, {"calm": 0, "faulty": 0})
    return dict(sorted(told.items(), key=lambda row: (row[0] == UNATTRIBUTED, -sum(row[1].values()))))


def _memory(soak: Soak) -> dict[str, Any]:
    after = [sample for sample in soak.samples if sample[0] >= warm_up(soak)]
    if not after:
        return {}
    return {
        "after_warm_up": round(after[0][1], 1),
        "end": round(after[-1][1], 1),
        "highest": round(max(sample[1] for sample in soak.samples), 1),
        "own_in_calm_minutes": {minute: round(value, 1) for minute, value in calm_memory(soak, 2).items()},
        "slope_per_hour": slope_per_hour(soak, 1),
        "slope_per_hour_own": slope_per_hour(soak, 2),
    }


def _range(soak: Soak, column: int) -> dict[str, int]:
    values = [int(sample[column]) for sample in soak.samples if sample[0] >= warm_up(soak)]
    return {"after_warm_up": values[0], "end": values[-1], "highest": max(values)} if values else {}


def problems(soak: Soak) -> list[str]:
    """What makes the run a failure."""
    wrong = []
    if soak.crashed:
        wrong.append(f"the node ended with {soak.exit_code}")
    if "Traceback" in soak.log:
        wrong.append("the node's log has a traceback")
    wrong += [f"{name}: {times} times" for name, times in soak.troubles.items() if "own camera" in name]
    newest = max((at for _, at in soak.labelled), default=0)
    if soak.samples and newest < soak.start_ns + (soak.samples[-1][0] - _LAST) * 1e9:
        wrong.append(f"no labels in the last {_LAST} s")
    return wrong


def write_report(soak: Soak, folder: Path, *, with_plot: bool = True) -> str:
    """Write soak.json, soak.md and, unless it is an interim report, whose labels would wait for it, soak.png.

    Returns the Markdown.
    """
    told = figures(soak)
    text = markdown(told)
    (folder / "soak.json").write_text(json.dumps(told, indent=2) + "\n")
    (folder / "soak.md").write_text(text)
    if with_plot and installed("matplotlib"):
        plot(soak, folder / "soak.png")
    return text


def markdown(told: dict[str, Any]) -> str:
    """The figures as tables."""
    lines = [
        f"Soak of {told['minutes']:.0f} minutes, seed {told['seed']}: model `{told['model']}` on {told['backend']}, "
        f"camera at {told['rate_hz']:g} Hz, a minute of calm and a minute of faults by turns.",
        "",
        "| frames | sent | labelled | age p50 / p95 / p99 (ms) |",
        "|---|---|---|---|",
    ]
    for name, row in told["frames"].items():
        ages = " / ".join(str(value) for value in row["age_ms_p50_p95_p99"])
        lines.append(f"| {name} | {row['sent']} | {row['labelled']} | {ages} |")
    memory = told["memory_mib"]
    rows = {
        "crashes": told["crashes"],
        "tracebacks": told["tracebacks"],
        "exit code": told["exit_code"],
        "memory after warm-up, at the end, highest (MiB)": _joined(memory, "after_warm_up", "end", "highest"),
        "memory slope after warm-up (MiB per hour, 95 % interval), resident / own": _joined(
            memory, "slope_per_hour", "slope_per_hour_own"
        ),
        "threads after warm-up, at the end, highest": _joined(told["threads"], *told["threads"]),
        "file handles after warm-up, at the end, highest": _joined(told["file_handles"], *told["file_handles"]),
    }
    counted = told["counted_by_the_node"]
    lines += ["", "| the node counted | in calm minutes | in faulty minutes |", "|---|---|---|"]
    lines += [f"| {kind} | {n} | {counted['faulty'].get(kind, 0)} |" for kind, n in counted["calm"].items()]
    lines += ["", "| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    lines += ["", "| fault | frames with it | of them labelled |", "|---|---|---|"]
    lines += [f"| {name} | {row['sent']} | {row['labelled']} |" for name, row in told["faults"].items()]
    lines += ["", "| trouble | times |", "|---|---|", *(f"| {name} | {n} |" for name, n in told["troubles"].items())]
    lines += ["", "| why a frame has no labels | in calm minutes | in faulty minutes |", "|---|---|---|"]
    lines += [f"| {reason} | {row['calm']} | {row['faulty']} |" for reason, row in told["reasons"].items()]
    lines += ["", "| /diagnostics said | seconds |", "|---|---|"]
    lines += [f"| {text} | {n} |" for text, n in told["diagnostics"].items()]
    return "\n".join(lines) + "\n"


def _joined(values: dict[str, Any], *names: str) -> str:
    return " / ".join(str(values.get(name, "")) for name in names)


def plot(soak: Soak, path: Path) -> None:
    """Memory and ages over the run."""
    samples = np.array(soak.samples)
    when = {one["stamp"]: one for one in soak.sent if not one["faults"]}
    with picture(path, 2, (9, 6)) as (upper, lower):
        upper.plot(samples[:, 0] / 60, samples[:, 1], label="resident")
        upper.plot(samples[:, 0] / 60, samples[:, 2], label="own")
        upper.set_ylabel("memory of the node (MiB)")
        upper.set_ylim(bottom=0)
        upper.legend()
        for calm, name in ((True, "calm"), (False, "between faults")):
            ages = [
                ((at - soak.start_ns) / 60e9, (at - when[stamp]["at"]) * 1e-6)
                for stamp, at in soak.labelled
                if stamp in when and when[stamp]["calm"] == calm
            ]
            lower.plot(*zip(*ages, strict=True), ".", markersize=2, label=name) if ages else None
        lower.set_ylabel("age of labels (ms)")
        lower.set_yscale("log")
        lower.set_xlabel("minutes")
        lower.legend()
