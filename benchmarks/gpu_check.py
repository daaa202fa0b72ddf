"""Everything that only a GPU can show, in the order of docs/gpu.md. `scripts/gpu_check` starts it.

Each part is a process of its own: one that fails or crashes does not end the others. What a part has found is kept in a
folder, with the engines and the kernel timings: a run that was stopped, by its limit, by Ctrl-C or by a power cut, goes
on where it was when it is started again.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import Any

from gpu_libraries import environment_for
from gpu_report import markdown

from asymformer_ros import __version__
from asymformer_ros.engine.driver import GpuInfo, NoGpu, probe_gpu
from asymformer_ros.system.files import user_folder, write_atomically

ROOT = Path(__file__).resolve().parents[1]
DEMO = "demo"
QUESTIONS = (
    "build",
    "types",
    "pins_obey",
    "pins_prefer",
    "pins_none",
    "profile",
    "against",
    "tf32_on",
    "tf32_off",
    "tests",
    "swap",
    "second_build",
)
"""Parts about the demo model, in the order in which their answers change the code."""

SPEEDS = (
    "torch_fp32",
    "torch_fp16",
    "torch_contiguous",
    "torch_graph",
    "torch_bf16",
    "precision",
    "tensorrt_fp16",
    "tensorrt_mixed",
    "torch_compile",
)
"""Parts about the model whose speed is asked for. torch_fp32 leaves the labels that the others are compared with."""

PACKAGES = ("torch", "tensorrt", "tensorrt_rtx", "pycuda", "onnx", "onnxruntime", "numpy")


def main(arguments: list[str] | None = None) -> int:
    """Run what no run before has done; returns 0 where every part has run, 1 where one failed or there was no time."""
    args = _parser().parse_args(arguments)
    gpu = probe_gpu()
    if isinstance(gpu, NoGpu):
        print(f"nothing to check, and nothing written: {gpu.reason}", file=sys.stderr)
        return 1
    check = Check(args, gpu)
    end = monotonic() + args.minutes * 60 if args.minutes else None
    try:
        for part in check.open_parts():
            print(f"{part} ...", flush=True)
            answer = check.run(part, None if end is None else end - monotonic())
            print(f"  {_line(answer)}", flush=True)
    except KeyboardInterrupt:
        print("stopped: start it again to go on", file=sys.stderr)
        return 1
    return int(any("reason" in answer for answer in check.results["parts"].values()))


class Check:
    """One GPU's results, and the folder in which they grow."""

    def __init__(self, args: argparse.Namespace, gpu: GpuInfo) -> None:
        self._args, self._name = args, slug(gpu.name)
        self.folder: Path = (args.folder or _cache() / self._name).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.results = self._kept(_subject(args, gpu))
        self._environment = environment_for(args.libraries, self.folder)

    def open_parts(self) -> Iterator[str]:
        """Parts without an answer, or whose answer is only a reason why there is none."""
        known = self.results["parts"]
        for part in (*QUESTIONS, *SPEEDS):
            if part not in known or "reason" in known[part]:
                yield part

    def run(self, part: str, seconds: float | None) -> dict[str, Any]:
        """The answer of a part, which is written down at once."""
        model = DEMO if part in QUESTIONS else self._args.model
        answer = run_part(_command(part, model, self.folder, self._args.against), self._environment, seconds)
        self.results["parts"][part] = answer
        write_atomically(self.folder / "results.json", json.dumps(self.results).encode())
        write(self.results, self._args.output)
        return answer

    def _kept(self, subject: dict[str, Any]) -> dict[str, Any]:
        """What an earlier run has found out about the same things, nothing where they have changed."""
        try:
            kept = json.loads((self.folder / "results.json").read_text())
        except (OSError, ValueError):
            kept = {}
        same = all(kept.get(key) == subject[key] for key in subject if key != "date")
        parts = dict(kept.get("parts", {})) if same else {}
        for part in self._asked_again():
            parts.pop(part, None)
            shutil.rmtree(self.folder / part, ignore_errors=True)  # what it has built
        return {**subject, "parts": parts}

    def _asked_again(self) -> Sequence[str]:
        again: Sequence[str] | None = self._args.again
        return () if again is None else again or (*QUESTIONS, *SPEEDS)


def run_part(command: list[str], environment: dict[str, str], seconds: float | None) -> dict[str, Any]:
    """The JSON in the last line of a command's output, or why there is none. seconds: None waits for ever."""
    if seconds is not None and seconds <= 0:
        return {"reason": "no time is left: start it again to go on"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds, env=environment, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return {"reason": "the time was over meanwhile: start it again to go on"}
    if "pytest" in command:
        return _tests(done)
    try:
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        return {"reason": f"its process ended with code {done.returncode}: {_tail(done.stderr or done.stdout)}"}


def write(results: dict[str, Any], output: Path) -> None:
    """`<gpu>.json`, the Markdown report, and the inspector's own text, which becomes a sample for the tests."""
    name, parts = slug(results["gpu"]), dict(results["parts"])
    if "inspected" in parts.get("build", {}):
        parts["build"] = dict(parts["build"])
        write_atomically(output / f"{name}.inspector.json", parts["build"].pop("inspected").encode())
    write_atomically(output / f"{name}.json", (json.dumps({**results, "parts": parts}, indent=1) + "\n").encode())
    write_atomically(output / f"{name}.md", markdown(results).encode())


def slug(name: str) -> str:
    """A GPU's name as that of a file."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _subject(args: argparse.Namespace, gpu: GpuInfo) -> dict[str, Any]:
    """What the results are about: where any of it but the date changes, everything is asked again."""
    return {
        "gpu": gpu.name,
        "compute_capability": gpu.capability,
        "driver_cuda": ".".join(map(str, gpu.cuda)),
        "package_version": __version__,
        "python": sys.version.split()[0],
        "versions": _versions(),
        "model": args.model,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _line(answer: dict[str, Any]) -> str:
    if "reason" in answer:
        return f"not done: {answer['reason']}"
    if "p50_ms" in answer:
        return f"p50 {answer['p50_ms']:.2f} ms, {answer['fps']:.1f} frames/s"
    return str(answer.get("summary") or answer.get("skipped") or "done")


def _command(part: str, model: str, folder: Path, against: Path | None) -> list[str]:
    if part == "tests":
        return [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    extra = [str(against.resolve())] if part == "against" and against else []
    return [sys.executable, str(ROOT / "benchmarks" / "gpu_parts.py"), part, model, str(folder), *extra]


def _tests(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    summary = _tail(done.stdout or done.stderr)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode != 0:
        return {"reason": f"pytest ended with code {done.returncode}: {summary}", "failed": failed}
    return {"summary": summary}


def _tail(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _cache() -> Path:
    return user_folder("XDG_CACHE_HOME", ".cache") / "gpu_check"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu_check", description="Check everything that needs an NVIDIA GPU.")
    parser.add_argument(
        "--model", default="untrained_full", help="bundle or untrained network whose speed is asked for"
    )
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long; 0, the default, has no limit")
    parser.add_argument(
        "--again", nargs="*", metavar="PART", help="do these parts again though they are done; all where none is named"
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="keeps answers and engines (default: in ~/.cache/asymformer_ros)"
    )
    parser.add_argument("--against", type=Path, metavar="ONNX", help="demo's graph in another form, to compare with")
    parser.add_argument("--libraries", type=Path, metavar="DIR", help="folder with TensorRT's module and libraries")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results", metavar="DIR", help="where results go"
    )
    return parser
