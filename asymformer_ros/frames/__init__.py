"""Frames: colour and depth images, their intrinsics, files and figures. Needs no PyTorch."""
