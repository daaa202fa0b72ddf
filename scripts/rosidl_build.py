"""Generates and compiles the Python side of msg/*.msg for `pip install .`; colcon does the same with CMake.

The steps are those of rosidl_generate_interfaces: .msg to .idl, type descriptions, C structures, three type
supports and the Python bindings. Its output is a MessageBuild: files for the Python package and files for the
environment's prefix. Used by setup.py alone and not installed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

DEPENDENCIES = ("std_msgs", "builtin_interfaces")
"""Packages whose messages ours use, directly or not."""

DISPATCH = "rosidl_typesupport_c"
IMPLEMENTATIONS = ("rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c")
STRUCTURES = "rosidl_generator_c"
BINDINGS = "rosidl_generator_py"
RUNTIME = ("rosidl_runtime_c", DISPATCH, *IMPLEMENTATIONS, "rosidl_typesupport_fastrtps_cpp", "fastcdr", "rcutils")
"""Libraries of ROS itself; the linker takes those that are needed."""


class MessageBuildError(RuntimeError):
    """The messages cannot be generated or compiled here; the message says what to do."""


@dataclass(frozen=True)
class MessageBuild:
    """What was built: paths relative to the Python package, or to the environment's prefix, and their files."""

    package_files: dict[str, Path]
    prefix_files: dict[str, Path]


def build_messages(package: str, root: Path, work: Path) -> MessageBuild:
    """Build root/msg/*.msg of `package` below `work`. Raises MessageBuildError."""
    root, work = root.resolve(), work.resolve()
    prefix = ros_prefix()
    messages = sorted((root / "msg").glob("*.msg"))
    interfaces = _to_idl(package, root, messages, work)
    descriptions = _generate(package, prefix, interfaces, work)
    libraries, modules = _Compiler(package, prefix, work).run()

    share = f"share/{package}/msg"
    prefix_files = {f"{share}/{path.name}": path for path in (*messages, *interfaces, *descriptions)}
    prefix_files |= {f"lib/{path.name}": path for path in libraries}
    bindings = work / BINDINGS / package
    package_files = {str(path.relative_to(bindings)): path for path in bindings.glob("msg/*.py")}
    package_files |= {path.name: path for path in modules}
    return MessageBuild(package_files, prefix_files)


def ros_prefix() -> Path:
    """The environment that holds the rosidl generators: the nearest folder above them with an ament index."""
    try:
        import rosidl_generator_py
    except ImportError as error:
        raise MessageBuildError(
            f"the rosidl generators are missing ({error}): let pip use build isolation, or install the packages "
            "of [build-system] in pyproject.toml first"
        ) from error
    module = Path(rosidl_generator_py.__file__).resolve()
    for folder in module.parents:
        if (folder / "share/ament_index/resource_index/packages/rosidl_generator_py").is_file():
            return folder
    raise MessageBuildError(f"no ament index above {module}: rosidl_generator_py is not installed completely")


def _to_idl(package: str, root: Path, messages: Iterable[Path], work: Path) -> list[Path]:
    from rosidl_adapter.msg import convert_msg_to_idl

    folder = work / "idl" / "msg"
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(convert_msg_to_idl(root, package, path.relative_to(root), folder)) for path in messages]


def _generate(package: str, prefix: Path, interfaces: Sequence[Path], work: Path) -> list[Path]:
    """Run every generator and return the type descriptions (JSON).

    The generator classes are called themselves: a look-up by name trips over entry points that the wheels list twice.
    """
    os.environ["AMENT_PREFIX_PATH"] = str(prefix)
    from rosidl_generator_c.cli import GenerateC
    from rosidl_generator_py.cli import GeneratePython
    from rosidl_generator_type_description.cli import HashTypeDescription
    from rosidl_typesupport_c.cli import GenerateCTypesupport
    from rosidl_typesupport_fastrtps_c.cli import GenerateFastRTPSCTypesupport
    from rosidl_typesupport_introspection_c.cli import GenerateIntrospectionCTypesupport

    names = [f"{path.parents[1]}:msg/{path.name}" for path in interfaces]
    includes = [str(prefix / "share" / name) for name in DEPENDENCIES]

    def output(name: str) -> Path:
        folder = work / name / package
        (folder / "msg").mkdir(parents=True, exist_ok=True)
        return folder

    describe = HashTypeDescription("type_description")
    descriptions = describe.generate_type_hashes(package, names, includes, output("type_description"))
    GenerateC("c").generate(package, names, includes, output(STRUCTURES), descriptions)
    GenerateFastRTPSCTypesupport("fastrtps_c").generate(package, names, includes, output(IMPLEMENTATIONS[0]))
    GenerateIntrospectionCTypesupport("introspection_c").generate(package, names, includes, output(IMPLEMENTATIONS[1]))
    dispatch = GenerateCTypesupport("c", typesupport_implementations=list(IMPLEMENTATIONS))
    dispatch.generate(package, names, includes, output(DISPATCH))
    python = GeneratePython("py", typesupport_implementations=[DISPATCH, *IMPLEMENTATIONS])
    python.generate(package, names, includes, output(BINDINGS))
    return [Path(path) for path in descriptions]


class _Compiler:
    """Compiles what the generators wrote into the shared libraries and extension modules that rclpy loads."""

    def __init__(self, package: str, prefix: Path, work: Path) -> None:
        self.package = package
        self.prefix = prefix
        self.work = work
        self.output = work / "bin"
        self.output.mkdir(parents=True, exist_ok=True)

    def run(self) -> tuple[list[Path], list[Path]]:
        """Return the libraries (for lib/) and the extension modules (for the Python package)."""
        generators = (STRUCTURES, *IMPLEMENTATIONS, DISPATCH, BINDINGS)
        entries = {name: self._entry_point(name) for name in (DISPATCH, *IMPLEMENTATIONS)}
        sources = {name: self._sources(name) for name in generators}
        everything = [*(path for paths in sources.values() for path in paths), *entries.values()]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = dict(zip(everything, pool.map(self._compile, everything), strict=True))
        libraries = [self._link_library(name, [objects[path] for path in sources[name]]) for name in generators]
        modules = [self._link_module(name, objects[path]) for name, path in entries.items()]
        return libraries, modules

    def _entry_point(self, typesupport: str) -> Path:
        return self.work / BINDINGS / self.package / f"_{self.package}_s.ep.{typesupport}.c"

    def _sources(self, generator: str) -> list[Path]:
        folder = self.work / generator / self.package / "msg"
        return sorted(path for path in folder.rglob("*") if path.suffix in (".c", ".cpp"))

    def _compile(self, source: Path) -> Path:
        target = source.with_suffix(source.suffix + ".o")
        standard = "-std=c++17" if source.suffix == ".cpp" else "-std=c11"
        folders = [f"-I{folder}" for folder in self._include_folders()]
        _call([*_driver(source), standard, "-O2", "-fPIC", *folders, "-c", str(source), "-o", str(target)])
        return target

    def _include_folders(self) -> list[Path]:
        import numpy

        own = [self.work / name for name in (STRUCTURES, *IMPLEMENTATIONS, DISPATCH)]
        include = self.prefix / "include"  # one folder per ROS package, and Fast CDR's headers at the top
        ros = sorted(path for path in include.iterdir() if path.is_dir())
        return [*own, *ros, include, Path(sysconfig.get_path("include")), Path(numpy.get_include())]

    def _link_library(self, generator: str, objects: Sequence[Path]) -> Path:
        target = self.output / f"lib{self.package}__{generator}.so"
        earlier = [path.stem.removeprefix("lib") for path in self.output.glob("lib*.so") if path != target]
        needed = [f"{name}__{generator}" for name in DEPENDENCIES]
        self._link(target, objects, [*earlier, *needed], "$ORIGIN")
        return target

    def _link_module(self, typesupport: str, entry_point: Path) -> Path:
        target = self.output / f"{self.package}_s__{typesupport}{sysconfig.get_config_var('EXT_SUFFIX')}"
        own = [f"{self.package}__{name}" for name in (STRUCTURES, typesupport, DISPATCH, BINDINGS)]
        self._link(target, [entry_point], own, "$ORIGIN/../../..")  # site-packages/<package> is 3 below lib
        return target

    def _link(self, target: Path, objects: Sequence[Path], needed: Sequence[str], rpath: str) -> None:
        folders = [f"-L{self.output}", f"-L{self.prefix / 'lib'}"]
        names = [f"-Wl,-soname,{target.name}", f"-Wl,-rpath,{rpath}"]
        libraries = ["-Wl,--as-needed", "-Wl,--allow-shlib-undefined", *(f"-l{name}" for name in (*needed, *RUNTIME))]
        command = [*_driver(Path("any.cpp")), "-shared", "-o", str(target), *map(str, objects)]
        _call([*command, *folders, *names, *libraries])


def _driver(source: Path) -> list[str]:
    """The compiler for a source file: $CC or cc, $CXX or c++."""
    variable, default = ("CXX", "c++") if source.suffix == ".cpp" else ("CC", "cc")
    return shlex.split(os.environ.get(variable, default))


def _call(command: Sequence[str]) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MessageBuildError(f"no compiler {command[0]!r}: install gcc and g++, or set CC and CXX") from error
    if result.returncode != 0:
        raise MessageBuildError(f"{shlex.join(command)}\nended with {result.returncode}:\n{result.stderr}")
