"""A furnished room, all of it from a seed."""

from __future__ import annotations

import numpy as np

from asymformer_ros.simulation import furnishing, shell
from asymformer_ros.simulation.catalog import Catalog
from asymformer_ros.simulation.site import Site

_KINDS = (
    (0.25, furnishing.furnish_living),
    (0.22, furnishing.furnish_bedroom),
    (0.2, furnishing.furnish_kitchen),
    (0.15, furnishing.furnish_bathroom),
    (0.18, furnishing.furnish_study),
)
"""How often each kind of room is built."""


def furnished_room(seed: int, catalog: Catalog | None = None) -> Site:
    """A room of some kind: its shape, door, windows, furniture, clutter and lights follow from the seed."""
    rng = np.random.default_rng(seed)
    furnish = _KINDS[rng.choice(len(_KINDS), p=[share for share, _ in _KINDS])][1]
    bathroom = furnish is furnishing.furnish_bathroom
    site = Site.of_size(rng, *(((2.4, 2.4), (3.4, 3.2)) if bathroom else ((3.4, 3.2), (6.0, 5.2))))
    site.catalog = catalog
    shell.build_shell(site)
    shell.hang_door(site)
    for _ in range(int(rng.integers(1, 3))):
        shell.put_window(site, lowest_sill=1.2 if bathroom else 0.8)
    furnish(site)
    for _ in range(int(rng.integers(1, 5))):
        shell.hang_picture(site)
    shell.hang_ceiling_light(site)
    return site
