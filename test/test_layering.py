"""The house's rule: a module imports what stands below it, and each heavy library is imported in its own place."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "asymformer_ros"
LAYERS = (
    {"errors", "system"},
    {"findings", "optional"},
    {"frames", "onnx_graph"},
    {"network"},
    {"models"},
    {"datasets", "simulation"},
    {"engine"},
    {"inference"},
    {"evaluation"},
    {"training"},
    {"node"},
    {"cli"},
)
"""From the ground up; modules of one layer do not import each other."""

HOMES = {
    "torch": {"network", "models", "inference", "engine", "training"},
    "onnx": {"models", "onnx_graph", "engine"},
    "onnxruntime": {"onnx_graph"},
    "openvino": {"onnx_graph"},
    "safetensors": {"network", "models"},
    "embreex": {"simulation"},
    "trimesh": {"simulation"},
    "h5py": {"datasets"},
    "yaml": {"datasets", "models", "node"},
    "scipy": {"datasets"},
    "matplotlib": {"evaluation"},
    "jinja2": {"evaluation"},
    "gdown": {"models"},
    "tqdm": {"cli", "training"},
    "tensorboard": {"training"},
    "rosbags": {"datasets", "evaluation"},
    "fsspec": {"datasets"},
    "distributed": {"evaluation"},
    "tensorrt": {"engine"},
    "tensorrt_rtx": {"engine"},
    "pycuda": {"engine"},
    "rclpy": {"node"},
    "sensor_msgs": {"node"},
    "std_msgs": {"node"},
    "std_srvs": {"node"},
    "diagnostic_msgs": {"node"},
    "diagnostic_updater": {"node"},
    "vision_msgs": {"node"},
    "message_filters": {"node"},
    "cv_bridge": {"node"},
}
"""Where each library may be imported."""

MODULES = sorted(ROOT.rglob("*.py"))


def part(module: Path) -> str:
    """The room of the house that a file stands in."""
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(module: Path) -> set[str]:
    """All names that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "asymformer_ros")
    return names


def house() -> dict[str, set[str]]:
    """Each room and the rooms that it imports: folders and modules of the package, and what stands beside it."""
    beside = [path for folder in ("benchmarks", "launch", "scripts") for path in (ROOT.parent / folder).iterdir()]
    files = {path: path.parent.name for path in beside if path.is_file()} | {path: part(path) for path in MODULES}
    files[ROOT.parent / "setup.py"] = "setup"
    rooms: dict[str, set[str]] = {room: set() for room in files.values() if room != "__init__"}
    for path, room in files.items():
        pieces = [name.split(".") for name in imports(path)]
        seen = {piece[1] for piece in pieces if piece[0] == "asymformer_ros" and len(piece) > 1}
        rooms.get(room, set()).update((seen & rooms.keys()) - {room})
    return rooms


def test_the_house_stays_small_and_has_no_circle() -> None:
    rooms = house()
    TopologicalSorter(rooms).prepare()  # raises CycleError, which names the circle
    assert len(rooms) <= 20, sorted(rooms)
    assert sum(map(len, rooms.values())) <= 90


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_below_it(module: Path) -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    own = part(module)
    if own == "__init__":  # it names the public face for type checkers, and imports nothing
        return
    for name in imports(module):
        pieces = name.split(".")
        if pieces[0] == "asymformer_ros" and len(pieces) > 1 and pieces[1] in level and pieces[1] != own:
            assert level[pieces[1]] < level[own], f"{own} stands below {pieces[1]}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_a_library_is_imported_only_where_it_belongs(module: Path) -> None:
    for name in imports(module):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or part(module) in homes, f"{name} belongs into {homes}"


def test_signals_are_handled_in_one_place() -> None:
    callers = [module.stem for module in MODULES if re.search(r"\bsignal\.(signal|sigaction)\(", module.read_text())]
    assert callers == ["signals"]


@pytest.mark.parametrize("module", ["asymformer_ros", "asymformer_ros.cli.main", "asymformer_ros.inference.segmenter"])
def test_what_everyone_imports_is_light(module: str) -> None:
    heavy = ("torch", "onnx", "onnxruntime", "rclpy", "scipy", "h5py", "matplotlib", "tqdm")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert answer.stdout.strip() == "[]"


@pytest.mark.ros
def test_the_camera_and_the_viewer_do_not_need_torch() -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    code = "import sys, asymformer_ros.node.camera_node, asymformer_ros.node.demo_viewer; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert answer.stdout.strip() == "False"
