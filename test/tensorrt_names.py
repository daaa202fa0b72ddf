"""What MODULES touch of TensorRT, and which versions have it.

The table `tensorrt_names.json` is made from the real Python bindings, without TensorRT itself: the bindings' wheels
hold one small extension module, whose few undefined functions get empty stand-ins, and an import lists its classes.

    pip download --no-deps tensorrt-cu12-bindings==11.4.0.106     (10.x likewise; 8.6.1: tensorrt-bindings)
    python test/tensorrt_names.py 11.4.0=unpacked/tensorrt_bindings/tensorrt.so ... > test/tensorrt_names.json
"""

from __future__ import annotations

import ast
import ctypes
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
API = ROOT / "asymformer_ros" / "engine" / "api.py"
MODULES = [API.with_name(f"{name}.py") for name in ("api", "compiler", "layer_types", "runtime")]
TABLE = Path(__file__).with_name("tensorrt_names.json")

CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "layer": "ILayer",
    "tensor": "ITensor",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "inspector": "EngineInspector",
    "context": "IExecutionContext",
    "runtime_config": "IRuntimeConfig",
    "runtime_cache": "IRuntimeCache",
}
"""TensorRT's class of each variable's name in them."""

MADE_BY = {
    "IRuntimeCache": "create_runtime_cache",
}
"""Classes that some versions lack, and what is asked for before there is an object of them."""

_CHAINED = {
    "get_error": "ParserError",
    "get_timing_cache": "ITimingCache",
}


def touched() -> dict[str, int]:
    """Every name of TensorRT in MODULES, such as "Builder.create_network" or "BuilderFlag.FP16", and its line."""
    nodes = [node for node in _nodes() if isinstance(node, ast.Attribute)]
    return {name: node.lineno for node in nodes if (name := _tensorrt_name(node)) and not node.attr.startswith("__")}


def versions_with() -> dict[str, set[str]]:
    """The table: versions that have each name."""
    table = json.loads(TABLE.read_text())
    everywhere = {name: set(table["versions"]) for name in table["everywhere"]}
    return everywhere | {name: set(versions) for name, versions in table["only_in"].items()}


def guarded() -> set[str]:
    """Names that are asked for with `hasattr` before they are used, without their class."""
    calls = [node for node in _nodes() if isinstance(node, ast.Call)]
    return {ast.literal_eval(call.args[1]) for call in calls if _is_plain_hasattr(call)}


def is_guarded(name: str) -> bool:
    """Whether a name of `touched`, its class, or what makes objects of its class is asked for before."""
    first, _, last = name.rpartition(".")
    return bool(guarded() & {last, first, MADE_BY.get(first)})


def _nodes() -> list[ast.AST]:
    return [node for path in MODULES for node in ast.walk(ast.parse(path.read_text()))]


def _is_plain_hasattr(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "hasattr" and isinstance(call.args[1], ast.Constant)


def _tensorrt_name(node: ast.Attribute) -> str:
    value = node.value
    if isinstance(value, ast.Name) and value.id in CLASSES:
        return f"{CLASSES[value.id]}.{node.attr}"
    if isinstance(value, ast.Name) and value.id == "trt":
        return node.attr
    if isinstance(value, ast.Attribute) and ast.unparse(value.value) in ("trt", "self.trt"):
        return f"{value.attr}.{node.attr}"
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in _CHAINED:
        return f"{_CHAINED[value.func.attr]}.{node.attr}"
    return ""


def has_name(module: object, name: str) -> bool:
    """Whether a module of bindings has a name of `touched`."""
    first, _, rest = name.partition(".")
    return hasattr(module, first) and (not rest or hasattr(getattr(module, first), rest))


def _import_bindings(extension: str) -> object:
    """The extension module, with empty stand-ins for TensorRT's own libraries."""
    header = subprocess.run(["readelf", "-d", extension], capture_output=True, text=True, check=True).stdout
    symbols = subprocess.run(["nm", "-D", "--undefined-only", extension], capture_output=True, text=True, check=True)
    missing = re.findall(r"U ((?:create|getBuilder|getNv|getPlugin|initLib|_ZN1)\w*)", symbols.stdout)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "standin.c"
        source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in missing))
        for library in re.findall(r"NEEDED.*\[(libnv.*?)\]", header):
            path = f"{folder}/{library}"
            subprocess.run(["gcc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", path, source], check=True)
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        sys.setdlopenflags(os.RTLD_LAZY)
        spec = importlib.util.spec_from_file_location("tensorrt", extension)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def _names_in(extension: str) -> list[str]:
    """Those of `touched` that an extension module has; in a process of its own, for two cannot be in one."""
    answer = subprocess.run([sys.executable, __file__, extension], capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def _make_table(versions: dict[str, str]) -> dict[str, object]:
    found = {version: set(_names_in(extension)) for version, extension in versions.items()}
    names = {name: [version for version in found if name in found[version]] for name in sorted(touched())}
    everywhere = [name for name, where in names.items() if len(where) == len(found)]
    only_in = {name: where for name, where in names.items() if len(where) < len(found)}
    return {"versions": list(found), "everywhere": everywhere, "only_in": only_in}


if __name__ == "__main__":
    if "=" in sys.argv[1]:
        table = _make_table(dict(argument.split("=", 1) for argument in sys.argv[1:]))
        sys.stdout.write(json.dumps(table, indent=1) + "\n")
    else:
        bindings = _import_bindings(sys.argv[1])
        sys.stdout.write(json.dumps([name for name in touched() if has_name(bindings, name)]))
