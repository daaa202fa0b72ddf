"""`asymformer doctor`: what this computer has, what it lacks, and what to do about it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from asymformer_ros import __version__
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.optional import require

if TYPE_CHECKING:
    from asymformer_ros.findings import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Tell what this computer has, what it lacks, and what to do about it; or, with --rgb and --depth, why two "
        "image topics give no pairs, too few or useless ones. Ends with 1 where there is an error, and with 0 else."
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder of engines to look at")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for scripts")
    topics = parser.add_argument_group("topics", "looked at in place of the computer; see docs/troubleshooting.md")
    topics.add_argument("--rgb", metavar="TOPIC", help="colour image, raw or .../compressed")
    topics.add_argument("--depth", metavar="TOPIC", help="depth image, raw, .../compressedDepth or .../compressed")
    topics.add_argument("--seconds", type=float, default=4.0, metavar="N", help="how long to listen (default: 4)")
    topics.add_argument("--slop", type=float, metavar="S", help="the node's parameter, seconds (default: its own)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one line for each thing, with a second one where something can be done; or all of it as JSON."""
    from asymformer_ros.findings import worst

    findings: list[Finding] = []
    for finding in _diagnose(args):
        findings.append(finding)
        if not args.json:
            print(_line(finding), flush=True)
    if args.json:
        data = {"version": __version__, "worst": worst(findings), "findings": [found.to_json() for found in findings]}
        json.dump(data, sys.stdout, indent=2)
        print()
    return int(worst(findings) == "error")


def _diagnose(args: argparse.Namespace) -> Iterable[Finding]:
    if args.rgb is None and args.depth is None:
        from asymformer_ros.cli.doctor_installation import diagnose_installation

        return diagnose_installation(args.cache)
    if not (args.rgb and args.depth):
        raise ConfigurationError("--rgb and --depth belong together: give the topic of colour and that of depth")
    require("asymformer doctor --rgb --depth", "rclpy")
    from asymformer_ros.node.topic_doctor import diagnose_topics

    return diagnose_topics(args.rgb, args.depth, args.seconds, args.slop)


def _line(finding: Finding) -> str:
    line = f"{finding.severity:<8} {finding.cause:<18} {finding.text}"
    return f"{line}\n{'':<27} -> {finding.advice}" if finding.advice else line
