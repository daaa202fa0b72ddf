"""Weights that are known by name: which files they are, what serves them, and how they are fetched."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from asymformer_ros.errors import CheckpointError, DependencyError
from asymformer_ros.models import catalogue as weights
from asymformer_ros.models.catalogue import DEMO, KNOWN, NYUV2, KnownWeights, ModelFiles, data_folder, model_files
from asymformer_ros.models.download import download

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the user's data, in place of the real one."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return data_folder()


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the package's own weights."""
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "package" / "__init__.py"))
    return DEMO.folder


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")


def test_downloaded_weights_are_user_data_and_the_demos_are_in_the_package(data: Path, tmp_path: Path) -> None:
    assert data == tmp_path / "data/asymformer_ros/weights"
    assert data / "nyuv2.safetensors" == NYUV2.bundle
    assert DEMO.onnx == ROOT / "asymformer_ros/models/weights/demo.onnx"


def test_a_data_home_that_is_not_absolute_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert data_folder() == Path.home() / ".local/share/asymformer_ros/weights"


def test_a_name_stands_for_the_files_that_are_there(packaged: Path) -> None:
    put(DEMO.onnx)
    assert model_files("demo") == ModelFiles(onnx=str(packaged / "demo.onnx"))
    put(DEMO.bundle)
    assert model_files("demo") == ModelFiles(str(packaged / "demo.safetensors"), str(packaged / "demo.onnx"))


@pytest.mark.parametrize(
    ("model", "files"),
    [
        ("./demo", ModelFiles(bundle="./demo")),
        ("demo.safetensors", ModelFiles(bundle="demo.safetensors")),
        ("nyuv2.onnx", ModelFiles(onnx="nyuv2.onnx")),
        ("untrained", ModelFiles(bundle="untrained")),
    ],
)
def test_any_other_text_is_a_path_or_built_in(model: str, files: ModelFiles) -> None:
    assert model_files(model) == files


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("", r"this installation lacks the weights `rooms` \(.*rooms.safetensors and rooms.onnx are missing\)"),
        ("nyuv2", r"`nyuv2` are not here \(.*nyuv2.safetensors is missing\): .*`asymformer weights download nyuv2`"),
        ("demo", r"this installation lacks the weights `demo` \(.*demo.safetensors and demo.onnx are missing\)"),
    ],
)
def test_what_is_missing_is_one_line_that_says_how_to_get_it(model: str, told: str, packaged: Path) -> None:
    with pytest.raises(CheckpointError, match=told) as caught:
        model_files(model)
    assert "\n" not in str(caught.value)


def test_without_pytorch_the_onnx_file_is_the_readable_one(monkeypatch: pytest.MonkeyPatch) -> None:
    both, bundle = ModelFiles("a.safetensors", "a.onnx"), ModelFiles("a.safetensors")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert (both.readable, bundle.readable) == ("a.safetensors", "a.safetensors")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert (both.readable, bundle.readable) == ("a.onnx", "a.safetensors")


def test_names_need_no_pytorch() -> None:
    code = "import sys, asymformer_ros.models.download; print({'torch', 'onnx', 'gdown'} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_known_weights_have_label_sets_that_exist() -> None:
    from asymformer_ros.models.labels import label_set

    assert [len(label_set(known.label_set)) for known in KNOWN] == [40, 40, 40]


def test_without_a_name_it_is_the_best_model_of_real_rooms_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = model_files("rooms")
    assert Path(rooms.bundle).is_file()
    assert Path(rooms.onnx).is_file()
    assert model_files("") == rooms
    put(NYUV2.bundle)
    monkeypatch.setattr(weights, "installed", lambda library: False)
    assert model_files("") == rooms, "a bundle alone needs PyTorch"
    monkeypatch.setattr(weights, "installed", lambda library: True)
    assert model_files("") == model_files("nyuv2")


class TestDownload:
    """With the real gdown and a server of our own; Google Drive differs from it in the page before a large file."""

    CONTENT = bytes(range(256)) * 8192  # 2 MB

    @pytest.fixture
    def serve(self) -> Iterator[Callable[[type[BaseHTTPRequestHandler]], KnownWeights]]:
        """Starts a server, and gives weights that come from it."""
        pytest.importorskip("gdown", reason="downloads need gdown")
        servers: list[ThreadingHTTPServer] = []

        def start(handler: type[BaseHTTPRequestHandler]) -> KnownWeights:
            servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
            return replace(NYUV2, url=f"http://127.0.0.1:{servers[-1].server_port}/weights.pth")

        yield start
        for server in servers:
            server.shutdown()
            server.server_close()

    def test_the_file_comes_whole(self, serve: Callable[..., KnownWeights]) -> None:
        known = serve(handler_of(self.CONTENT))
        path = download(known)
        assert path == known.folder / "nyuv2.pth"
        assert path.read_bytes() == self.CONTENT
        assert [file.name for file in known.folder.iterdir()] == ["nyuv2.pth"]

    def test_what_was_fetched_before_an_interruption_is_not_fetched_again(
        self, serve: Callable[..., KnownWeights]
    ) -> None:
        asked: list[str] = []
        known = serve(handler_of(self.CONTENT, breaks_after=1_500_000, asked=asked))
        with pytest.raises(CheckpointError, match="could not be downloaded"):
            download(known)
        (partial,) = known.folder.iterdir()
        fetched = partial.stat().st_size
        assert 0 < fetched < len(self.CONTENT)
        assert download(known).read_bytes() == self.CONTENT
        assert asked[-1] == f"bytes={fetched}-"
        assert [file.name for file in known.folder.iterdir()] == ["nyuv2.pth"]

    def test_without_a_server_one_line_says_how_to_do_without(self, serve: Callable[..., KnownWeights]) -> None:
        known = replace(serve(handler_of(b"")), url="http://127.0.0.1:9/weights.pth")
        with pytest.raises(CheckpointError, match=f"{by_hand()}$") as caught:
            download(known)
        assert "\n" not in str(caught.value)

    def test_a_quota_that_is_used_up_is_told_in_googles_words(
        self, serve: Callable[..., KnownWeights], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As gdown raises it."""
        import gdown

        def refuse(**_: object) -> None:
            raise gdown.exceptions.FileURLRetrievalError("Failed to retrieve file url:\n\n\tToo many users have viewed")

        monkeypatch.setattr(gdown, "download", refuse)
        with pytest.raises(CheckpointError, match=rf"url: Too many users have viewed\): {by_hand()}$"):
            download(NYUV2)


def test_without_gdown_one_line_says_how_to_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(DependencyError, match=rf"a download \(or {by_hand()}\) needs gdown.*`pip install gdown`$"):
        download(NYUV2)


def by_hand() -> str:
    return f"open {NYUV2.origin} in a browser, then `asymformer weights download nyuv2 --from FILE`"


def handler_of(
    content: bytes, breaks_after: int | None = None, asked: list[str] | None = None
) -> type[BaseHTTPRequestHandler]:
    """Serves one file, in parts where they are asked for. breaks_after: bytes that the first answer ends after."""
    broken: list[bool] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            if asked is not None:
                asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            end = breaks_after if breaks_after and not broken else len(content)
            broken.append(True)
            self.wfile.write(content[start:end])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
