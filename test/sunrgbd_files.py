"""SUN RGB-D's original downloads, made small by the tests: the same files, variables and types."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

PLACES = ("kv1/NYUdata/NYU0001", "kv2/kinect2data/000002", "xtion/sun3ddata/a", "realsense/lg/b")
SIZES = ((5, 7), (6, 8), (4, 6), (3, 9))
SPLIT = {"train": (0, 2), "test": (1, 3)}
THEIRS = "/n/fs/sun3d/data/SUNRGBD/"
MILLIMETRES = 5000


def write_sunrgbd(folder: Path) -> Path:
    """Frame n is of colour n * 20, 5 m away but for one hole, and has the labels 0 and n + 1."""
    import h5py
    from scipy.io import savemat

    for number, (place, size) in enumerate(zip(PLACES, SIZES, strict=True)):
        for kind in ("image", "depth_bfx"):
            (folder / "SUNRGBD" / place / kind).mkdir(parents=True)
        depth = np.full(size, MILLIMETRES, np.uint16)
        depth[0, 0] = 0
        rotated = (depth << np.uint16(3)) | (depth >> np.uint16(13))
        cv2.imwrite(str(folder / "SUNRGBD" / place / f"depth_bfx/{number}.png"), rotated)
        cv2.imwrite(str(folder / "SUNRGBD" / place / f"image/{number}.jpg"), np.full((*size, 3), number * 20, np.uint8))
    meta = np.empty((1, len(PLACES)), [("rgbpath", object), ("rgbname", object), ("depthname", object)])
    for number, place in enumerate(PLACES):
        meta[0, number] = (f"{THEIRS}{place}/image/{number}.jpg", f"{number}.jpg", f"{number}.png")
    toolbox = folder / "SUNRGBDtoolbox"
    for part in ("Metadata", "traintestSUNRGBD"):
        (toolbox / part).mkdir(parents=True)
    savemat(toolbox / "Metadata/SUNRGBDMeta.mat", {"SUNRGBDMeta": meta})
    lists = {f"all{split}": np.array([[f"{THEIRS}{PLACES[at]}" for at in own]], object) for split, own in SPLIT.items()}
    savemat(toolbox / "traintestSUNRGBD/allsplit.mat", lists)
    with h5py.File(toolbox / "Metadata/SUNRGBD2Dseg.mat", "w") as file:
        refs = file.create_dataset("SUNRGBD2Dseg/seglabel", (len(PLACES), 1), h5py.ref_dtype)
        for number, (height, width) in enumerate(SIZES):
            labels = np.zeros((width, height), np.uint8)
            labels[1:] = number + 1
            refs[number, 0] = file.create_dataset(f"#refs#/{number}", data=labels).ref
    return folder
