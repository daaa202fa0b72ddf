"""Which topics of a bag are colour, depth and the colour camera's calibration: by type and name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asymformer_ros.errors import ConfigurationError

IMAGE, COMPRESSED, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo"
_OPTIONS = ("--rgb-topic", "--depth-topic", "--info-topic")
_TRANSPORTS = ("compressed", "compressedDepth")
_DEPTH = re.compile(r"depth", re.IGNORECASE)
_COLOUR = re.compile(r"colou?r|rgb", re.IGNORECASE)
_NEITHER = re.compile(
    r"segmentation/|/truth/|confidence|infra|/ir\d*(?:[/_]|$)|mask|theora|ffmpeg|legend", re.IGNORECASE
)
_REGISTERED = re.compile(r"aligned|registered|to_colou?r|to_rgb", re.IGNORECASE)


@dataclass(frozen=True)
class Topics:
    """Names in a bag; info is "" where there is no calibration."""

    rgb: str
    depth: str
    info: str


def find_topics(types: Mapping[str, str], given: Sequence[str]) -> Topics:
    """The topics of a bag. types: of each of its topics the type. given: colour, depth and calibration, "" to find.

    Depth has "depth" in its name, best "aligned", "registered" or "to_color"; colour has "color" or "rgb", or is the
    only other one; raw comes before compressed. Raises ConfigurationError where one is missing or two serve alike.
    """
    for option, name in zip(_OPTIONS, given, strict=True):
        if name and name not in types:
            raise ConfigurationError(f"the bag has no topic '{name}' ({option}): it has {', '.join(sorted(types))}")
    pictures = [name for name, kind in types.items() if kind in (IMAGE, COMPRESSED) and not _NEITHER.search(name)]
    depths = [name for name in pictures if _DEPTH.search(name)]
    others = [name for name in pictures if name not in depths and not name.endswith("/compressedDepth")]
    depth = given[1] or _best("depth", depths, [bool(_REGISTERED.search(name)) for name in depths], types)
    rgb = given[0] or _best("colour", others, [bool(_COLOUR.search(name)) for name in others], types)
    info = given[2] or next((name for name in (_info_of(rgb),) if types.get(name) == INFO), "")
    return Topics(rgb, depth, info)


def _best(what: str, names: Sequence[str], is_preferred: Sequence[bool], types: Mapping[str, str]) -> str:
    order = {name: (not good, types[name] == COMPRESSED) for name, good in zip(names, is_preferred, strict=True)}
    best = [name for name in names if order[name] == min(order.values())]
    if len(best) == 1:
        return best[0]
    option = _OPTIONS[0 if what == "colour" else 1]
    found = ", ".join(f"{name} ({kind.rpartition('/')[2]})" for name, kind in sorted(types.items())) or "nothing"
    problem = f"{len(best)} topics may be {what}: {', '.join(sorted(best))}" if best else f"no topic is {what}"
    raise ConfigurationError(f"{problem}; name one with {option}; the bag has {found}")


def _info_of(rgb: str) -> str:
    base, _, transport = rgb.rpartition("/")
    image = base if transport in _TRANSPORTS else rgb
    return f"{image.rpartition('/')[0]}/camera_info"
