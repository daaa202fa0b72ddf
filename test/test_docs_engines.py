"""docs/engines.md says what the code does."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from asymformer_ros.cli import build_engine
from asymformer_ros.engine.cache import LOCK, MANIFEST, PLAN
from asymformer_ros.engine.verify import MIN_AGREEMENT

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "engines.md").read_text()
CODE = "\n".join(path.read_text() for path in (ROOT / "asymformer_ros" / "engine").glob("*.py"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    build_engine.add_arguments(parser)
    return parser


def test_the_table_of_arguments_is_that_of_the_command() -> None:
    table = TEXT.partition("| argument |")[2].partition("\n\n")[0]
    told = set(re.findall(r"^\| `(-?-?[\w-]+)", table, re.MULTILINE))
    actions = [action for action in _parser()._actions if action.dest != "help"]
    assert told == {(action.option_strings or [action.metavar])[0] for action in actions}


def test_the_defaults_are_those_of_the_command() -> None:
    parser = _parser()
    assert f"default {parser.get_default('timeout'):.0f}" in TEXT


def test_files_and_limit_are_those_of_the_code() -> None:
    assert all(f"`{name}`" in TEXT for name in (PLAN, MANIFEST, LOCK))
    assert f"{MIN_AGREEMENT * 100:.1f} %" in TEXT


@pytest.mark.parametrize("message", re.findall(r"^\| `([^`]+)` \|", TEXT.partition("## Errors")[2], re.MULTILINE))
def test_each_message_is_one_of_the_code(message: str) -> None:
    """Its words between the placeholders are in the source, whose strings may be split over lines."""
    code = re.sub(r'"\s*\n\s*f?"', "", CODE)
    code = re.sub(r"\{[^{}]*\}", "...", code)
    told = re.sub(r"\b(by SIG\w+ in|by SIG\w+|fp16|0)\b|no NVIDIA driver", "...", message)
    parts = [part.strip(" '") for part in told.split("...")]
    assert all(part in code for part in parts if part)
