"""The docs say what is: parameters, topics, commands, launch arguments and links exist."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from asymformer_ros.cli.main import SUBCOMMANDS, build_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the table below a heading, without its two head lines."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_local_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith(("http", "#")):
            assert (page.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_heading_that_a_link_names_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, anchor = target.split("#")
        text = (page.parent / name).read_text() if name else page.read_text()
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_asymformer_command_in_the_docs_is_accepted(page: Path) -> None:
    parser = build_parser()
    for command in re.findall(r"^(?:\.venv/bin/)?asymformer (\w[^\n#`]*)", page.read_text(), re.MULTILINE):
        parser.parse_args(command.split())


@pytest.mark.ros
def test_the_readme_lists_every_parameter_with_its_default() -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    from asymformer_ros.node.parameters import SPECS

    told = {name.strip("`"): default.strip("`") for name, default, _ in rows(README, "Parameters")}
    unquoted = {name: spec.default for name, spec in SPECS.items() if isinstance(spec.default, str) and spec.default}
    assert told == {name: unquoted.get(name, json.dumps(spec.default)) for name, spec in SPECS.items()}
    dynamic = {name.strip("`") for name, _, text in rows(README, "Parameters") if text.startswith("dynamic")}
    assert dynamic == {name for name, spec in SPECS.items() if spec.dynamic}


def test_the_readme_lists_every_camera_preset() -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which every ROS installation has")
    presets = yaml.safe_load((ROOT / "config" / "cameras.yaml").read_text())
    told = {name for cells in rows(README, "Cameras") for name in re.findall(r"`(\w+)`", cells[0])}
    assert told == set(presets)


@pytest.mark.ros
def test_the_readme_lists_every_output() -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    import inspect

    from asymformer_ros.node import outputs

    source = inspect.getsource(outputs)
    told = {cells[1].strip("`").removeprefix("segmentation/") for cells in rows(README, "Topics") if cells[0] == "out"}
    assert all(f'"{name}"' in source or f'"segmentation/{name}"' in source for name in told - {"/diagnostics"})
    assert {*outputs._IMAGES, "summary", "camera_info", "points", "label_info", "legend", "/diagnostics"} == told


def test_launch_arguments_in_the_docs_exist() -> None:
    declared = set(
        re.findall(r'^    \(?\s*"?\(?"(\w+)",', (ROOT / "launch/segment.launch.py").read_text(), re.MULTILINE)
    )
    declared |= set(re.findall(r'^        "(\w+)",$', (ROOT / "launch/segment.launch.py").read_text(), re.MULTILINE))
    used = set(re.findall(r"segment\.launch\.py[^\n`]*", "\n".join(page.read_text() for page in PAGES)))
    for command in used:
        for name in re.findall(r"(\w+):=", command):
            assert name in declared, f"{name} in '{command}'"


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every long option of a command line and of its subcommands."""
    for action in parser._actions:
        yield from (option for option in action.option_strings if option.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for chosen in action.choices.values():
                yield from options(chosen)


def test_every_subcommand_is_in_the_docs_and_each_one_there_exists() -> None:
    assert set(re.findall(r"(?:^|[`/ ])asymformer ([a-z][a-z-]+)", TEXT, re.MULTILINE)) == set(SUBCOMMANDS)


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_option_of_a_command_is_in_the_docs(command: str) -> None:
    missing = {option for option in options(build_parser([command])) if not re.search(rf"{option}\b", TEXT)}
    assert missing <= {"--help", "--version"}


def test_every_option_in_the_docs_is_one_of_the_code() -> None:
    programs = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "scripts").glob("*")]
    known = set(options(build_parser())) | {
        option for path in programs if path.is_file() for option in re.findall(r'"(--[a-z-]+)"', path.read_text())
    }
    others = {"--clock", "--reliability", "--symlink-install", "--system-site-packages", "--shm-size", "--ipc"}
    others |= {"--gpus", "--net", "--build-arg"}
    assert set(re.findall(r"`(--[a-z-]+)", TEXT)) <= known | others


def test_every_target_of_make_in_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", TEXT, re.MULTILINE)) <= targets


def test_every_file_that_the_docs_name_exists() -> None:
    named = set(re.findall(r"(?<![\w/])(?:(?:benchmarks|config|test)/\w+\.\w+|scripts/\w+)", TEXT))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.ros
def test_every_parameter_of_a_command_in_the_docs_exists() -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    from asymformer_ros.node.parameters import SPECS

    camera = (ROOT / "asymformer_ros/node/camera_node.py").read_text()
    for node, name in re.findall(r"(\w+_node) .*?-p (\w+):=", TEXT):
        assert name in SPECS if node == "segmentation_node" else f"    {name}: " in camera, name


@pytest.mark.parametrize("page", [page for page in PAGES[1:] if "```python" in page.read_text()], ids=lambda p: p.name)
def test_every_python_example_of_a_page_runs(page: Path) -> None:
    pytest.importorskip("torch", reason="some examples need PyTorch")
    for example in re.findall(r"```python\n(.+?)```", page.read_text(), re.DOTALL):
        exec(compile(example, page.name, "exec"), {})
