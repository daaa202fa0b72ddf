"""The processes that learn together, as `torchrun` starts them, or one alone: each learns from its part of a batch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from asymformer_ros.errors import AsymformerError, ConfigurationError

_TOLD = "asymformer_ros/told"  # how many processes have had an error


@dataclass(frozen=True)
class Processes:
    """This process and those beside it; `sum`, `largest` and `first_ones` are asked by all at the same place.

    rank: 0 is the first one, which alone writes and tells. here: how many are on this machine, and rank_here: which of
    those this one is.
    """

    rank: int = 0
    count: int = 1
    rank_here: int = 0
    here: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Of each number over all processes."""
        return (
            self._over_all(torch.from_numpy(numbers.copy()), dist.ReduceOp.SUM).numpy() if self.count > 1 else numbers
        )

    def largest(self, number: int) -> int:
        return int(self._over_all(torch.tensor(number), dist.ReduceOp.MAX)) if self.count > 1 else number

    def first_ones(self, value: Mapping[str, object]) -> Mapping[str, object]:
        """What the first process gives."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, device=torch.device("cpu"))
        return values[0]

    def parts(self, accumulate: int) -> list[slice]:
        """Which frames of a batch this process learns from, in `accumulate` parts that follow each other.

        A part of all processes together has the same frames however many they are.
        """
        return [slice(number + accumulate * self.rank, None, accumulate * self.count) for number in range(accumulate)]

    def require_enough(self, batch_size: int, accumulate: int) -> None:
        """Raises ConfigurationError where a batch has too few frames for a part of each process to have one."""
        least = accumulate * self.count
        if batch_size < least:
            raise ConfigurationError(
                f"a batch of {batch_size} frames cannot be divided among {self.count} processes in {accumulate} parts: "
                f"it takes a --batch-size of {least} or more, and as many training frames"
            )

    def device(self, kind: torch.device) -> torch.device:
        """This process's device of a kind: with CUDA a GPU of its own. Raises ConfigurationError where it has none."""
        if kind.type != "cuda" or self.count == 1:
            return kind
        if self.rank_here >= torch.cuda.device_count():
            raise ConfigurationError(
                f"{self.here} processes on a machine with {torch.cuda.device_count()} GPUs: start as many as it has"
            )
        torch.cuda.set_device(self.rank_here)
        return torch.device("cuda", self.rank_here)

    def together(self, module: nn.Module) -> nn.Module:
        """A module whose backward pass leaves the mean of all processes' gradients in each of them."""
        if self.count == 1:
            return module
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")  # 1x1 kernels, channels last
        return DistributedDataParallel(module)

    @staticmethod
    def _over_all(numbers: Tensor, how: dist.ReduceOp.RedOpType) -> Tensor:
        dist.all_reduce(numbers, how)
        return numbers


ALONE = Processes()


def by_itself(module: nn.Module) -> AbstractContextManager[None]:
    """Leave a process's gradients in it meanwhile, to be summed with those of the next pass."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _Sum.forward(ctx, gradient)


def sum_of_all(x: Tensor) -> Tensor:
    """Of a tensor over all processes; gradients come back from all of them."""
    return _Sum.apply(x)  # type: ignore[no-untyped-call]


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone where it did not.

    One that ends with an error ends them all, and the first one to have it tells it: raises SystemExit in the others,
    AsymformerError where a process is gone that told nothing, or where they do not come together.
    """
    if "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    store, processes = _join()
    try:
        yield processes
    except Exception as error:
        first = _is_first(store)
        told = _lost_process(error) or error
        if isinstance(told, AsymformerError) and not first:
            raise SystemExit(1) from error
        raise told from error
    dist.destroy_process_group()


def _join() -> tuple[Any, Processes]:
    """A torch.distributed.Store, which its stubs do not name, and the processes."""
    if not dist.is_available():
        raise ConfigurationError("this PyTorch is built without torch.distributed: train in one process")
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, count = next(rendezvous("env://"))  # type: ignore[no-untyped-call]
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count)
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"RANK and WORLD_SIZE are set, but the processes do not come together ({error}): start them with torchrun"
        ) from error
    rank_here, here = (
        int(os.environ.get(f"LOCAL_{name}", all_)) for name, all_ in (("RANK", rank), ("WORLD_SIZE", count))
    )
    return store, Processes(rank, count, rank_here, here)


def _is_first(store: Any) -> bool:
    """Whether no other process had an error before; the store may be gone with the process that held it."""
    try:
        return store.add(_TOLD, 1) == 1
    except RuntimeError:
        return True


def _lost_process(error: Exception) -> AsymformerError | None:
    """What is to be told where an exchange with another process failed, or else None."""
    if not isinstance(error, dist.DistBackendError) and not (isinstance(error, RuntimeError) and "gloo" in str(error)):
        return None
    return AsymformerError(
        "another process of this training has ended without a word: it may have been killed, for memory perhaps. What "
        "was trained is kept up to the last save; the same command goes on from there"
    )
