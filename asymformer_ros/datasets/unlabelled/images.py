"""Pairs of colour and depth images that a user names."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

from asymformer_ros.datasets.unlabelled.source import Broken, Item, SourceSpec, chunks_of, fingerprint, selected
from asymformer_ros.datasets.unlabelled.urls import any_path, local_copy
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import RgbdFrame

_COLOURS = (".jpg", ".jpeg", ".png")
_DEPTHS = (".png",)


class ImageSource:
    """Pairs of image files, by their names."""

    def __init__(self, spec: SourceSpec, pairs: Sequence[tuple[str, Path, Path]]) -> None:
        self._spec, self._pairs = spec, pairs
        self._chosen = selected(spec, len(pairs))
        self.chunks = chunks_of(self._chosen)
        self.about = -(-len(self._chosen) // spec.every)
        self.facts = {"kind": "images", "frames": len(pairs)}

    @cached_property
    def fingerprint(self) -> str:
        """See Source."""
        return fingerprint(file for _, *files in self._pairs for file in files if file.is_file())

    def items(self, chunk: tuple[int, int]) -> Iterator[Item | Broken]:
        """See Source."""
        for number in range(*chunk):
            if (number - self._chosen.start) % self._spec.every == 0:
                name, rgb, depth = self._pairs[number]
                yield Item(name, partial(RgbdFrame.of, rgb, depth), {"rgb": rgb.name, "depth": depth.name})


def image_source(spec: SourceSpec) -> ImageSource:
    """Of --rgb and --depth: one image each, folders or patterns; paired by name, or by order where no name fits.

    Raises ConfigurationError where they do not make pairs.
    """
    colours, depths = images(spec.path, _COLOURS), images(spec.depth, _DEPTHS)
    _require_names(colours)
    _require_names(depths)
    by_name = {path.stem: path for path in depths}
    shared = [(path.stem, path, by_name[path.stem]) for path in colours if path.stem in by_name]
    if len(shared) == len(colours):
        return ImageSource(spec, shared)
    if shared or len(colours) != len(depths):
        lacking = next(path for path in colours if path.stem not in by_name)
        raise ConfigurationError(
            f"{len(colours)} colour images ({spec.path}) and {len(depths)} depth images ({spec.depth}) make no pairs: "
            f"'{lacking.name}' has none of its name; give each pair one name, or as many of the one as of the other"
        )
    return ImageSource(spec, [(rgb.stem, rgb, depth) for rgb, depth in zip(colours, depths, strict=True)])


def _require_names(paths: Sequence[Path]) -> None:
    """Raises ConfigurationError where two are called alike, as in folders of several sequences."""
    known: dict[str, Path] = {}
    for path in paths:
        if (first := known.setdefault(path.stem, path)) is not path:
            raise ConfigurationError(
                f"two images are called '{path.stem}', '{first}' and '{path}': segment each folder by itself"
            )


def images(place: str, suffixes: Sequence[str]) -> list[Path]:
    """The images of a folder, a pattern or a file, in the order of their names. Raises ConfigurationError for none."""
    if glob.has_magic(place) and "://" not in place:
        found = [Path(path) for path in sorted(glob.glob(place))]
    else:
        path = local_copy(any_path(place))
        found = sorted(path.iterdir()) if path.is_dir() else [path]
        found = [one for one in found if one.suffix.lower() in suffixes and one.is_file()]
    if not found:
        raise ConfigurationError(f"'{place}' is or holds no image that ends in {', '.join(suffixes)}")
    return found
