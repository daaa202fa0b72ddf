"""Why frames of a soak got no labels: for each one what the node wrote down of it, or what kept it from the node."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from asymformer_ros.node.parameters import SPECS

UNATTRIBUTED = "unattributed"
_LONGEST = 140  # characters
_SECOND = 10**9
_SLOP, _PATIENCE = (round(float(SPECS[name].default) * _SECOND) for name in ("slop", "pair_timeout"))
_STEP_BACK = _SECOND // 2
_ENDS = ("published", "refused", "stale", "failed", "replaced", "unwanted", "dropped")


class Journal:
    """What soak_node.py wrote down."""

    def __init__(self, path: Path) -> None:
        self.came: dict[str, dict[int, int]] = {"colour": {}, "depth": {}}  # first arrival of each stamp
        self.paired: dict[int, int] = {}  # colour's stamp -> when
        self.paired_depth: dict[int, int] = {}
        self.ends: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
        self.moments: defaultdict[str, list[int]] = defaultdict(list)
        self._newest = {"colour": 0, "depth": 0}
        for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
            when, what, stamp, words = line.split("\t")
            self._take(int(when), what, int(stamp) if stamp else None, words)

    def _take(self, when: int, what: str, stamp: int | None, words: str) -> None:
        if stamp is None:
            self.moments[what].append(when)
        elif what in self.came:
            self.came[what].setdefault(stamp, when)
            if stamp < self._newest[what] - _STEP_BACK:
                self.moments["stepped back"].append(when)
                self._newest[what] = stamp
            self._newest[what] = max(self._newest[what], stamp)
        elif what == "paired":
            self.paired.setdefault(stamp, when)
            self.paired_depth.setdefault(int(words) if words else stamp, when)
        elif what in _ENDS:
            self.ends[stamp].append((what, words))

    def happened(self, what: str, start: int, end: int) -> bool:
        """Whether there was such a moment between two others."""
        moments = self.moments[what]
        at = bisect_left(moments, start)
        return at < len(moments) and moments[at] <= end

    def was_inactive(self, when: int) -> bool:
        """Whether the node had no subscription then."""
        last = {what: bisect_left(self.moments[what], when) for what in ("active", "inactive")}
        return last["inactive"] >= last["active"]


def reasons(sent: list[dict[str, Any]], labelled: set[int], path: Path, kills: list[int]) -> Counter[str]:
    """How many of the frames without labels each reason stands for.

    sent: what the camera told. labelled: stamps. kills: when the camera was killed (monotonic time, ns).
    """
    journal = Journal(path)
    journal.moments["killed"] = kills
    return Counter(_reason(one, journal) for one in sent if one["stamp"] not in labelled)


def _reason(one: dict[str, Any], journal: Journal) -> str:
    for name in ("colour", "depth"):
        if not one[name]:
            return f"the camera sent no {name} image"
    stamp = one["stamp"] if one["stamp"] in one["colour"] else one["colour"][0]
    ends = journal.ends.get(stamp, [])
    if any(what == "published" for what, _ in ends):
        return "published" + (", but not under its own stamp" if stamp != one["stamp"] else ", but its labels are lost")
    if ends:
        return f"{ends[0][0]}: {short(ends[0][1])}"
    if stamp not in journal.came["colour"]:
        return _absent("colour", one, journal)
    if stamp in journal.paired:
        return UNATTRIBUTED
    return _alone(stamp, one, journal)


def _absent(name: str, one: dict[str, Any], journal: Journal) -> str:
    """Why an image has not come to the node."""
    start, end = one["at"], one["at"] + _SECOND
    if journal.was_inactive(start) or journal.was_inactive(end):
        return "sent while the node was not active"
    if name in one["unreadable"]:
        return f"the {name} message cannot be read"
    if journal.happened("killed", start, end):
        return "the camera was killed before it was sent"
    return f"the {name} image did not arrive: best effort"


def _alone(stamp: int, one: dict[str, Any], journal: Journal) -> str:
    """Why a colour image that came has found no partner."""
    depth = min(one["depth"], key=lambda other: abs(other - stamp))
    if abs(depth - stamp) > _SLOP:
        return "depth is stamped further from colour than slop"
    for what, words in journal.ends.get(depth, []):
        return f"{what}: {short(words)}"
    if depth not in journal.came["depth"]:
        return _absent("depth", one, journal)
    first, last = sorted((journal.came["colour"][stamp], journal.came["depth"][depth]))
    if journal.happened("time jumped", first, last + _PATIENCE):
        return "time has jumped while it waited for its partner"
    if journal.happened("inactive", first, last + _PATIENCE):
        return "the node was deactivated while it waited for its partner"
    if journal.happened("stepped back", first, last + _PATIENCE):
        return "stamps stepped back while it waited for its partner"
    if last - first > _PATIENCE:
        return "its partner came later than pair_timeout"
    if any(other > stamp and first - _PATIENCE < when < last + _PATIENCE for other, when in journal.paired.items()):
        return "colour or depth came after a newer pair"
    if depth in journal.paired_depth:
        return "its depth was paired with another colour image"
    return UNATTRIBUTED


def short(text: str) -> str:
    """A text that is the same for every number in it, without long repetitions, of 140 characters at most."""
    return re.sub(r"(.)\1{9,}", r"\1...", re.sub(r"\d[\d.e+]*", "#", text))[:_LONGEST]
