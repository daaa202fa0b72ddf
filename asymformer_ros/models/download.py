"""Fetches checkpoints from the authors' Google Drive."""

from __future__ import annotations

from pathlib import Path

from asymformer_ros.errors import CheckpointError
from asymformer_ros.models.catalogue import KnownWeights
from asymformer_ros.optional import importing


def download(known: KnownWeights) -> Path:
    """Fetch a checkpoint beside the bundle that is to be made of it, going on where an earlier try ended.

    gdown shows how far it is on stderr. What comes is not looked at. Raises CheckpointError, which says how to get the
    file without it, where nothing comes.
    """
    by_hand = f"open {known.origin} in a browser, then `asymformer weights download {known.name} --from FILE`"
    with importing("gdown", f"a download (or {by_hand})"):
        import gdown
    path = known.folder / f"{known.name}.pth"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        gdown.download(url=known.url, output=str(path), resume=True)
    except Exception as error:  # of gdown and requests, which differ between their versions
        reason = " ".join(str(error).split())
        raise CheckpointError(f"`{known.name}` could not be downloaded ({reason}): {by_hand}") from error
    return path
