"""Every benchmark that needs no GPU, one after the other, in one folder for this class of machine.

    python benchmarks/suite.py
    python benchmarks/suite.py --quick --output /tmp/speed
    python benchmarks/suite.py --resume                      # what an earlier run of it has not measured
    python benchmarks/suite.py --against benchmarks/results/x86_64-amd-avx512-bf16-2cores/speed.json

Writes speed.json, speed.md and pictures to `benchmarks/results/<machine class>/` after each part. A part that fails is
named, and the others go on. --against tells what has become slower, and by what ratio. Ends with 1 where a part has
failed, with 2 where, with --against, something has become slower; goals that are missed are told, and no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from goals import goals, told

from asymformer_ros.optional import installed
from asymformer_ros.system.files import write_atomically
from asymformer_ros.system.limits import cpu_flags
from asymformer_ros.system.signals import end_with_parent

HERE = Path(__file__).resolve().parent
PARTS = ("network", "frame_path", "overload", "startup", "scaling", "memory")
PLOTTED = ("network", "overload")
SLOWER = 1.25
"""Ratio from which a figure counts as worse: medians of one machine differ by a tenth from run to run."""

_PATIENCE, _ENDING = 1800.0, 120.0  # seconds for a part, and for its end after that
_VENDORS = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}
_FEATURES = {
    **{"avx512f": "avx512", "avx512_vnni": "vnni", "avx_vnni": "vnni", "avx512_bf16": "bf16", "amx_tile": "amx"},
    **{"asimd": "neon", "bf16": "bf16"},
}
_LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime", "openvino", "torch")
_COMPARED = ("ratio", "wall_ratio", "age_p50_ms", "rss_mib", "labels_rss_mib", "confidence_rss_mib", "first_label_ms")
_COMPARED += ("loaded", "segmenting", "first_label", "help_s")
_KEYS = ("model", "size", "backend", "outputs", "camera_hz", "busy", "busy_loops", "cameras_hz", "cores_given")


def machine_class(root: Path = Path("/")) -> str:
    """Architecture, vendor, vector units, cores, as "x86_64-amd-avx512-bf16-2cores": what times depend on, no names."""
    flags, cpuinfo = cpu_flags(root), root / "proc/cpuinfo"
    found = [short for flag, short in _FEATURES.items() if flag in flags]
    if "avx512" not in found and "avx2" in flags:
        found.insert(0, "avx2")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    vendors = [short for vendor, short in _VENDORS.items() if vendor in text]
    return "-".join([platform.machine(), *vendors, *dict.fromkeys(found), f"{len(os.sched_getaffinity(0))}cores"])


def run(part: str, folder: Path, work: Path, quick: bool) -> dict[str, Any]:
    """A part's figures and its table, or why it has failed; the seconds that it took and the load before."""
    load, start = os.getloadavg()[0], time.monotonic()
    figures = work / f"{part}.json"
    command = [sys.executable, str(HERE / f"{part}.py"), "--json", str(figures)]
    command += ["--quick"] if quick else []
    command += ["--work", str(work)] if part != "frame_path" else []
    command += ["--plot", str(folder / f"{part}.png")] if part in PLOTTED and installed("matplotlib") else []
    code, output, errors = _ended(command)
    content: dict[str, Any] = {"seconds": round(time.monotonic() - start), "load_before": round(load, 1)}
    if code or not figures.is_file():
        said = (errors.strip() or output.strip() or f"it ended with {code}").splitlines()[-1]
        return content | {"failed": said}
    return content | {"figures": json.loads(figures.read_text()), "table": output.strip()}


def _ended(command: Sequence[str]) -> tuple[int, str, str]:
    """Exit code and both outputs of a command, which is interrupted where it takes too long, so that it cleans up."""
    pipe, ending = subprocess.PIPE, partial(end_with_parent, os.getpid())
    with subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe, preexec_fn=ending) as process:
        try:
            output, errors = process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=_ENDING)
            except subprocess.TimeoutExpired:
                process.kill()
            return 1, "", f"it took longer than {_PATIENCE:.0f} s"
    return process.returncode, output, errors


def compared(figures: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every figure that may become worse with the path that names it; rows are named by what they are measured for."""
    if isinstance(figures, list):
        for number, row in enumerate(figures):
            named = [str(row[key]) for key in _KEYS if key in row] if isinstance(row, dict) else []
            yield from compared(row, f"{path}/{' '.join(named) or number}")
    elif isinstance(figures, dict):
        for name, value in figures.items():
            if isinstance(value, int | float) and (name in _COMPARED or path.endswith("help_s")):
                yield f"{path}/{name}", float(value)
            else:
                yield from compared(value, f"{path}/{name}")


def slower(before: Any, now: Any) -> list[str]:
    """Figures that have become worse, the worst first, as sentences."""
    old, new = dict(compared(before)), dict(compared(now))
    ratios = {name: new[name] / old[name] for name in old.keys() & new.keys() if old[name] > 0}
    worse = sorted((name for name, ratio in ratios.items() if ratio > SLOWER), key=lambda name: -ratios[name])
    return [f"{ratios[name]:.2f} times as much: {name[1:]} ({old[name]:g}, now {new[name]:g})" for name in worse]


def write(folder: Path, content: dict[str, Any]) -> str:
    """Write speed.json and speed.md; returns the table of goals."""
    found = goals(content["parts"])
    content["goals"] = [{**vars(goal), "met": goal.met} for goal in found]
    write_atomically(folder / "speed.json", (json.dumps(content, indent=1) + "\n").encode())
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    lines = [f"# Speed on {content['machine']}", "", versions, "", "## Goals", told(found)]
    if content["quick"]:
        lines[2:2] = [
            "**Measured with `--quick`: these figures say that the suite runs, not how fast anything is.**",
            "",
        ]
    for name, part in content["parts"].items():
        head = f"{part['seconds']} s, load before {part['load_before']}"
        lines += ["", f"## {name}", head, "", part.get("table") or f"failed: {part['failed']}"]
        lines += ["", f"![{name}]({name}.png)"] if (folder / f"{name}.png").is_file() else []
    (folder / "speed.md").write_text("\n".join(lines) + "\n")
    return told(found)


def versions() -> dict[str, str]:
    """Of what times depend on, as far as it is installed."""
    found = {"Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="little of each: whether it runs, not how fast it is")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="default: all; what is known of others is kept")
    parser.add_argument("--resume", action="store_true", help="keep the parts that the folder has figures of")
    parser.add_argument("--output", type=Path, help="folder (default: benchmarks/results/<machine class>)")
    parser.add_argument("--against", type=Path, metavar="FILE", help="speed.json of an earlier run")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all; see above for what it returns."""
    args = parsed(argv)
    before = json.loads(args.against.read_text())["parts"] if args.against else None
    folder = args.output or HERE / "results" / machine_class()
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine_class(), "versions": versions(), "quick": args.quick, "parts": {}}
    if (args.resume or args.parts) and (folder / "speed.json").is_file():
        earlier = json.loads((folder / "speed.json").read_text())
        if earlier["quick"] == args.quick:  # or else figures that say nothing would stand among those that do
            content["parts"] = earlier["parts"]
    wanted = [part for part in args.parts or PARTS if not (args.resume and "figures" in content["parts"].get(part, {}))]
    with tempfile.TemporaryDirectory() as work:
        for part in wanted:
            print(f"{part} ...", flush=True)
            content["parts"][part] = found = run(part, folder, Path(work), args.quick)
            print(found.get("table") or f"failed: {found['failed']}", flush=True)
            write(folder, content)
    print("", write(folder, content), "", f"written to {folder}", sep="\n")
    failed = [part for part in wanted if "failed" in content["parts"][part]]
    worse = [] if before is None else slower(before, content["parts"])
    print(*(f"failed: {part}" for part in failed), *worse, sep="\n")
    return 1 if failed else 2 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
