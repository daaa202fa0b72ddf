"""A stand-in for CUDA in PyTorch: a recording holds the tensors that it was made with, and does nothing until it runs.

As on a GPU, what is computed while it is made is lost, and what would wait for the host cannot be recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_FROM_HOST = ("aten::lift_fresh", "aten::_local_scalar_dense", "aten::item")
"""Tensors made of Python's numbers, and numbers of tensors."""


class FakeTorchGpu:
    """A `Gpu` that writes its calls down."""

    def __init__(self, *, can_record: bool = True) -> None:
        self.can_record = can_record
        self.calls: list[str] = []
        self.tapes: list[Tape] = []

    def pinned(self, shape: Sequence[int]) -> Tensor:
        self.calls.append("pinned")
        return torch.full(tuple(shape), 99, dtype=torch.uint8)

    def aside(self, work: Callable[[], object]) -> None:
        self.calls.append("aside")
        work()

    def record(self, work: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        self.calls.append("record")
        if not self.can_record:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with ...")
        tape = Tape()
        with tape:
            result = work()
        self.tapes.append(tape)

        def replay() -> None:
            self.calls.append("replay")
            tape.play()

        return result, replay

    def synchronise(self) -> None:
        self.calls.append("synchronise")


class Tape(TorchDispatchMode):
    """Each operation with the very tensors that it read and wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name() in _FROM_HOST:
            raise RuntimeError(f"{func.name()} cannot be recorded")
        result = func(*args, **(kwargs or {}))
        self.steps.append((func, args, kwargs or {}, result))
        read = {one.untyped_storage().data_ptr() for one in _tensors((args, kwargs))}
        for one in _tensors(result):
            if one.is_floating_point() and one.untyped_storage().data_ptr() not in read:
                one.fill_(float("nan"))
        return result

    def play(self) -> None:
        for func, args, kwargs, result in self.steps:
            for old, new in zip(_tensors(result), _tensors(func(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():  # else it is a view, or was written in place
                    old.copy_(new)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
