"""Adds to setup.cfg what a static file cannot say: the ROS messages are generated and compiled while building."""

import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from distutils.command.install_data import install_data  # setuptools brings distutils on Python 3.12

PACKAGE = "asymformer_ros"
ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "scripts"))  # pip does not put the folder of setup.py on the path

from rosidl_build import MessageBuild, MessageBuildError, build_messages
from supported_machine import missing_compiler, missing_wheels


class BuildPython(build_py):
    """build_py without leftovers: a module that was deleted since the last build must not be installed again."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class BuildMessages(build_ext):
    """build_ext for msg/*.msg in place of C sources."""

    built: MessageBuild

    def run(self) -> None:
        if self.editable_mode:
            sys.exit("an editable install has no place for ROS messages, launch and config files: use pip install .")
        work = Path(self.build_temp) / "messages"
        shutil.rmtree(work, ignore_errors=True)
        try:
            self.built = build_messages(PACKAGE, ROOT, work)
        except MessageBuildError as error:
            sys.exit(f"{PACKAGE}: {error}")
        for relative, source in self.built.package_files.items():
            target = Path(self.build_lib) / PACKAGE / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


class InstallData(install_data):
    """install_data with the libraries, definitions and ament index entries of the messages."""

    def run(self) -> None:
        from catkin_pkg.package import parse_package

        built = self.get_finalized_command("build_ext").built
        self.data_files += [(str(Path(path).parent), [str(source)]) for path, source in built.prefix_files.items()]
        interfaces = sorted(path for path in built.prefix_files if path.startswith(f"share/{PACKAGE}/"))
        self._add_index_entry("rosidl_interfaces", [path.removeprefix(f"share/{PACKAGE}/") for path in interfaces])
        depends = parse_package(ROOT / "package.xml", warnings=[]).exec_depends
        self._add_index_entry("package_run_dependencies", [";".join(depend.name for depend in depends)])
        super().run()

    def _add_index_entry(self, resource: str, lines: list[str]) -> None:
        entry = Path(self.get_finalized_command("build").build_temp) / "ament_index" / resource / PACKAGE
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text("\n".join(lines))
        self.data_files.append((f"share/ament_index/resource_index/{resource}", [str(entry)]))


problem = missing_wheels() or (missing_compiler() if sys.argv[1:2] != ["sdist"] else None)
if problem:
    sys.exit(problem)
setup(
    ext_modules=[Extension(f"{PACKAGE}.msg", [str(path.relative_to(ROOT)) for path in ROOT.glob("msg/*.msg")])],
    cmdclass={"build_py": BuildPython, "build_ext": BuildMessages, "install_data": InstallData},
)
