"""Every benchmark that needs no GPU, one after the other, in one folder for this class of machine.

    python benchmarks/suite.py
    python benchmarks/suite.py --quick --output /tmp/speed
    python benchmarks/suite.py --against benchmarks/results/x86_64-avx512-bf16-2cores/speed.json

Writes speed.json, speed.md and overload.png to `benchmarks/results/<machine class>/`. --against tells which times have
become longer, and by what ratio; it ends with 1 where one has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PARTS = ("network", "frame_path", "overload", "startup", "scaling", "memory")
SLOWER = 1.25
"""Ratio from which a time counts as longer: medians of one machine differ by a tenth from run to run."""

_FEATURES = {"avx512f": "avx512", "avx512_bf16": "bf16", "amx_tile": "amx", "asimd": "neon", "bf16": "bf16"}
_TIMES = ("_ms", "_s")
_KEYS = ("size", "outputs", "camera_hz", "busy_loops", "cameras", "cores_given", "listened_to", "model", "backend")


def machine_class(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Architecture, vector units and cores, such as "x86_64-avx512-bf16-2cores": what times depend on, and no names."""
    flags: list[str] = []
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    found = [short for flag, short in _FEATURES.items() if flag in flags]
    if "avx512" not in found and "avx2" in flags:
        found.insert(0, "avx2")
    return "-".join([platform.machine(), *dict.fromkeys(found), f"{len(os.sched_getaffinity(0))}cores"])


def run(part: str, folder: Path, options: Sequence[str]) -> tuple[dict[str, Any], str]:
    """The figures of a benchmark, and its table; no figures where it fails, and the reason in place of the table."""
    figures = folder / f"{part}.json"
    command = [sys.executable, str(HERE / f"{part}.py"), "--json", str(figures), *options]
    if part == "overload":
        command += ["--plot", str(folder / "overload.png")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if not figures.is_file():
        return {}, f"failed: {(ended.stderr.strip() or ended.stdout.strip() or 'no word').splitlines()[-1]}"
    content = json.loads(figures.read_text())
    return content if isinstance(content, dict) else {part: content}, ended.stdout.strip()


def times(figures: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every time of the figures with the path that names it; rows are named by what they are measured for."""
    if isinstance(figures, list):
        for number, row in enumerate(figures):
            named = [str(row[key]) for key in _KEYS if key in row] if isinstance(row, dict) else []
            yield from times(row, f"{path}/{' '.join(named) or number}")
    elif isinstance(figures, dict):
        for name, value in figures.items():
            if name.startswith("limit"):
                continue
            inside = any(part.endswith(_TIMES) for part in (path.rpartition("/")[2], name))
            if isinstance(value, int | float) and inside:
                yield f"{path}/{name}", float(value)
            else:
                yield from times(value, f"{path}/{name}")


def slower(before: Any, now: Any) -> list[str]:
    """Times that have become longer, the worst first, as sentences."""
    old, new = dict(times(before)), dict(times(now))
    ratios = {name: new[name] / old[name] for name in old.keys() & new.keys() if old[name] > 0}
    worse = sorted((name for name, ratio in ratios.items() if ratio > SLOWER), key=lambda name: -ratios[name])
    return [f"{ratios[name]:.2f} times as long: {name[1:]} ({old[name]:g}, now {new[name]:g})" for name in worse]


def main(argv: Sequence[str] | None = None) -> int:
    """Run all. Returns 1 where a benchmark has failed or, with --against, a time has become longer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="little of each: whether it runs, not how fast it is")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument("--output", type=Path, help="folder (default: benchmarks/results/<machine class>)")
    parser.add_argument("--against", type=Path, metavar="FILE", help="speed.json of an earlier run")
    args = parser.parse_args(argv)
    folder = args.output or HERE / "results" / machine_class()
    folder.mkdir(parents=True, exist_ok=True)
    before = json.loads(args.against.read_text()) if args.against else None
    figures: dict[str, Any] = {"machine": machine_class(), "load_before": round(os.getloadavg()[0], 1)}
    text, failed = [f"Machine: {machine_class()}; load before: {figures['load_before']}"], []
    with tempfile.TemporaryDirectory() as work:
        for part in args.parts:
            start = time.monotonic()
            found, table = run(part, Path(work), ["--quick"] if args.quick else [])
            figures[part] = found
            failed += [] if found else [part]
            text += ["", f"## {part}", f"{time.monotonic() - start:.0f} s", "", table]
            print("\n".join(text[-4:]), flush=True)
        if (Path(work) / "overload.png").is_file():
            (folder / "overload.png").write_bytes((Path(work) / "overload.png").read_bytes())
    (folder / "speed.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / "speed.md").write_text("\n".join(text) + "\n")
    worse = [] if before is None else slower(before, figures)
    print("\n".join(["", f"written to {folder}", *(f"failed: {part}" for part in failed), *worse]))
    return 1 if failed or worse else 0


if __name__ == "__main__":
    sys.exit(main())
