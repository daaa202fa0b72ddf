"""CUDA graphs and pycuda, against a stand-in for NVIDIA's driver that a C compiler makes of `fake_cuda.c`.

It shows that calls and their order are right and that everything is freed; a real driver is for `test_tensorrt_gpu.py`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asymformer_ros.engine.cuda_graph import CudaGraph
from asymformer_ros.errors import BackendError

HERE = Path(__file__).parent


def compile_driver(library: Path) -> Path:
    """The name matters: a library that is loaded as libcuda.so.1 would be this process's driver from then on."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    options = ["-w", "-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
    subprocess.run(["gcc", *options, "-o", library, HERE / "fake_cuda.c"], check=True)
    return library


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    return compile_driver(tmp_path / "libstandin.so")


@pytest.fixture
def cuda(driver: Path) -> Any:
    return ctypes.CDLL(str(driver))


class Copy:
    """Puts one copy into the stream."""

    def __init__(self, cuda: Any) -> None:
        self.source, self.target = np.arange(8, dtype=np.uint8), np.zeros(8, np.uint8)
        self._cuda = cuda

    def __call__(self) -> None:
        arguments = (ctypes.c_ulonglong(array.ctypes.data) for array in (self.target, self.source))
        assert self._cuda.cuMemcpyDtoDAsync_v2(*arguments, ctypes.c_size_t(8), ctypes.c_void_p(5)) == 0


def test_what_is_recorded_is_done_at_each_launch_and_not_before(cuda: Any, driver: Path) -> None:
    copy = Copy(cuda)
    graph = CudaGraph(5, copy, str(driver))
    assert not copy.target.any()
    graph.launch()
    np.testing.assert_array_equal(copy.target, copy.source)
    copy.source[:] = 7
    graph.launch()
    assert (copy.target == 7).all()


def test_a_graph_is_freed_once(cuda: Any, driver: Path) -> None:
    graph = CudaGraph(5, Copy(cuda), str(driver))
    assert cuda.fake_live() == 1
    graph.close()
    graph.close()
    assert cuda.fake_live() == 0


def test_work_that_fails_ends_the_capture(cuda: Any, driver: Path) -> None:
    def fail() -> None:
        raise BackendError("tensorrt cannot run the engine")

    with pytest.raises(BackendError, match="cannot run the engine"):
        CudaGraph(5, fail, str(driver))
    assert (cuda.fake_capturing(), cuda.fake_live()) == (0, 0)


def test_a_capture_that_fails_is_told_with_its_code(cuda: Any, driver: Path) -> None:
    cuda.fake_fail_capture(901)
    try:
        with pytest.raises(BackendError, match="cuStreamEndCapture failed with CUDA error 901"):
            CudaGraph(5, Copy(cuda), str(driver))
    finally:
        cuda.fake_fail_capture(0)
    assert (cuda.fake_capturing(), cuda.fake_live()) == (0, 0)


def test_a_driver_without_graphs_or_no_driver_is_told(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no NVIDIA driver: libcuda_that_is_not_here"):
        CudaGraph(5, lambda: None, "libcuda_that_is_not_here.so.1")
    with pytest.raises(BackendError, match="too old for CUDA graphs: it has no cuStreamBeginCapture_v2"):
        CudaGraph(5, lambda: None, "libc.so.6")


_WITH_PYCUDA = """
import ctypes, logging, os, sys, threading
sys.setdlopenflags(os.RTLD_LAZY)  # the stand-in has only what is used
import numpy as np
from asymformer_ros.engine.api import TensorInfo
from asymformer_ros.engine.cuda import PycudaGpu
from asymformer_ros.engine.session import GpuSession

cuda, log = ctypes.CDLL("libcuda.so.1"), []
logging.getLogger("asymformer_ros.engine.session").addFilter(lambda record: log.append(record.getMessage()))

class Copier:
    inputs, outputs = (TensorInfo("x", (2, 300), "UINT8"),), (TensorInfo("y", (2, 300), "UINT8"),)
    def __init__(self):
        self.at = {}
    def bind(self, name, address):
        self.at[name] = ctypes.c_ulonglong(address)
    def enqueue(self, stream):
        assert stream
        cuda.cuMemcpyDtoDAsync_v2(self.at["y"], self.at["x"], ctypes.c_size_t(600), ctypes.c_void_p(stream))
    def why_not_captured(self, stream):
        return ""
    def keep_compiled(self):
        pass
    def close(self):
        pass

def work(use_graph):
    session = GpuSession(PycudaGpu(), Copier, use_graph=use_graph)
    for value in range(3):
        session.inputs["x"][:] = value
        session.run()
        assert (session.outputs["y"] == value).all()
    assert cuda.fake_contexts() == 1
    session.close()
    session.close()
    assert (cuda.fake_live(), cuda.fake_contexts()) == (0, 0), (cuda.fake_live(), cuda.fake_contexts())

for use_graph in (True, False):
    for _ in range(3):
        thread = threading.Thread(target=work, args=(use_graph,))
        thread.start()
        thread.join()
assert not log, log
cuda.fake_fail_capture(901)
work(True)
assert log == ["no CUDA graph, each step is launched by itself: cuStreamEndCapture failed with CUDA error 901"], log
kept = GpuSession(PycudaGpu(), Copier)  # and a program that ends without closing it
print("all is well")
"""


def test_pycuda_copies_records_and_frees(tmp_path: Path) -> None:
    if importlib.util.find_spec("pycuda") is None:
        pytest.skip("pycuda is not installed")
    driver = compile_driver(tmp_path / "libcuda.so.1")  # for the other process alone
    path = f"{driver.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    environment = {**os.environ, "LD_LIBRARY_PATH": path, "LD_PRELOAD": str(driver)}
    code = [sys.executable, "-c", _WITH_PYCUDA]
    done = subprocess.run(code, capture_output=True, text=True, env=environment, cwd=HERE.parent)
    assert (done.returncode, done.stdout.strip()) == (0, "all is well"), done.stderr


def test_without_pycuda_it_is_said_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['pycuda'] = None\n"
        "from asymformer_ros.errors import DependencyError\n"
        "try:\n    import asymformer_ros.engine.cuda\nexcept DependencyError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent)
    assert "pip install pycuda" in done.stdout
