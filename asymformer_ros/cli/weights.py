"""`asymformer weights`: which weights there are, and how to get them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from asymformer_ros.cli.options import describe_written
from asymformer_ros.models.catalogue import KNOWN, KnownWeights

_TO_DOWNLOAD = {known.name: known for known in KNOWN if known.url}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "List and download trained weights."
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what is known, and what is here", description="Known weights.")
    listing.set_defaults(run=run_list)
    download = actions.add_parser(
        "download",
        help="fetch the authors' checkpoint and make a model of it",
        description="Fetch the authors' checkpoint from their Google Drive and make a model of it, which then has a "
        "name: `model:=nyuv2`.",
    )
    download.add_argument("name", choices=tuple(_TO_DOWNLOAD), help="as `asymformer weights list` has it")
    download.add_argument("--from", dest="file", type=Path, metavar="FILE", help="take this file, downloaded before")
    download.set_defaults(run=run_download)


def run_list(_args: argparse.Namespace) -> int:
    """Print a table, and below each row where its files are."""
    head, *rows = _table([("name", "classes", "size", "licence", "mIoU", "from"), *map(_row, KNOWN)])
    print(head)
    for known, row in zip(KNOWN, rows, strict=True):
        print(row)
        files = [path for path in (known.bundle, known.onnx) if path.is_file()]
        print("\n".join(f"       {path}" for path in files) if files else "       not here")
    return 0


def run_download(args: argparse.Namespace) -> int:
    """Raises CheckpointError where nothing comes, or not what was expected; BackendError without PyTorch."""
    from asymformer_ros.models.bundle import install  # before the download, which is in vain without PyTorch
    from asymformer_ros.models.download import download

    known = _TO_DOWNLOAD[args.name]
    if known.bundle.is_file() and not args.file:
        print(f"{known.name} is here already: {known.bundle}")
        return 0
    checkpoint = args.file or download(known)
    try:
        bundle = install(known, checkpoint)
    finally:
        if not args.file:
            checkpoint.unlink(missing_ok=True)
    print(describe_written(known.bundle, bundle))
    print(bundle.card.provenance)
    return 0


def _row(known: KnownWeights) -> tuple[str, ...]:
    from asymformer_ros.models.labels import label_set

    return (
        known.name,
        f"{len(label_set(known.label_set))} ({known.label_set})",
        f"{known.megabytes} MB",
        known.licence,
        "-" if known.mean_iou is None else f"{known.mean_iou}",
        known.origin,
    )


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
