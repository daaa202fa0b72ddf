"""The HTML page: what is in it, how large it is, and the whole of it driven in a real browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import tracemalloc
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the page has a plot")
pytest.importorskip("jinja2", reason="the page is made from a template")

from asymformer_ros.cli.main import main
from asymformer_ros.datasets.unlabelled import SourceSpec, open_source
from asymformer_ros.evaluation.page.html import Page
from asymformer_ros.evaluation.page.results import Sources, results_page
from asymformer_ros.evaluation.page.shown import ShownFrame, packed, shown, spread, worst_and_spread
from asymformer_ros.evaluation.recordings.store import Store
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import encode_indexed_png
from asymformer_ros.frames.recording import RgbdRecording
from asymformer_ros.models.labels import label_set

CLASSES = label_set("nyuv2_13")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1800",
]


def noisy(number: int, size: tuple[int, int] = (480, 640)) -> RgbdFrame:
    """A frame that no image format makes much smaller."""
    random = np.random.default_rng(number)
    small = random.integers(0, 256, (size[0] // 4, size[1] // 4, 3)).astype(np.uint8)
    rgb = cv2.resize(small, size[::-1])
    return RgbdFrame(rgb, random.uniform(0.5, 5.0, size).astype(np.float32))


def blocks(number: int, size: tuple[int, int] = (480, 640)) -> np.ndarray:
    cells = np.random.default_rng(number).integers(0, 13, (size[0] // 40, size[1] // 40)).astype(np.uint8)
    return cells.repeat(40, 0).repeat(40, 1)


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_a_page_of_200_frames_stays_below_5_mb_whatever_they_hold() -> None:
    some = [shown("", blocks(at), noisy(at), blocks(at + 1), scores=(0.5, 0.1)) for at in range(4)]
    frames = [replace(some[at % 4], name=f"{at}") for at in range(200)]
    html = Page("noise", CLASSES, frames, 200, counts=np.ones((13, 14), np.int64)).html()
    assert len(html.encode()) < 5_000_000
    assert len(data_of(html)["frames"]) == 200


def test_a_page_loads_nothing_from_anywhere() -> None:
    html = Page("<b>&", CLASSES, [shown("</script><b>", blocks(1), noisy(1))], 1).html()
    urls = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', html)
    assert [url for url in urls if not url.startswith(("#", "data:"))] == []
    assert "default-src 'none'" in html
    assert "<title>&lt;b&gt;&amp;</title>" in html
    assert data_of(html)["frames"][0]["name"] == "</script><b>"


def test_labels_come_back_from_a_page_as_they_were() -> None:
    labels = blocks(3, (240, 320))
    labels[:10] = 255
    (one,) = packed([shown("a", labels)])
    import base64

    image = cv2.imdecode(np.frombuffer(base64.b64decode(one["labels"].split(",")[1]), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(image, labels)
    assert {"camera", "depth", "truth", "overlay"}.isdisjoint(one)
    assert sum(one["shares"].values()) == pytest.approx(230 / 240, abs=1e-2)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_plot_has_a_band_for_each_class_and_one_for_the_rest(count: int) -> None:
    from asymformer_ros.evaluation.picture import shares_picture

    svg = shares_picture([{0: 0.5, 3: 0.25, 7: 0.25}] * count, [0, 3], CLASSES)
    assert re.findall(r'id="(class-\w+)"', svg) == ["class-0", "class-3", "class-rest"]


@pytest.mark.parametrize(("count", "most"), [(0, 5), (3, 5), (5, 5), (6, 5), (1000, 200), (7, 1)])
def test_some_of_many_frames_are_spread_over_them(count: int, most: int) -> None:
    chosen = spread(count, most)
    assert len(chosen) == min(count, most)
    assert chosen == sorted(set(chosen))
    assert all(0 <= at < count for at in chosen)


def test_the_worst_frames_are_among_those_shown() -> None:
    scores: list[float | None] = [0.9, 0.1, None, 0.8, 0.2, 0.7, 0.6, 0.5]
    chosen = worst_and_spread(scores, 4)
    assert {1, 4} <= set(chosen)
    assert len(chosen) == 4
    assert worst_and_spread([None] * 8, 4) == spread(8, 4)


def test_the_confusion_matrix_has_numbers() -> None:
    counts = np.zeros((13, 14), np.int64)
    counts[0, 0], counts[0, 1], counts[1, 1] = 30, 10, 60
    html = Page("p", CLASSES, [], 0, counts=counts).html()
    cells = re.findall(r"<td[^>]*>([\d.]+)</td>", html)
    assert cells == ["75.0", "25.0", "75.00", "40", "100.0", "85.71", "60"]
    assert "pixel accuracy <b>90.00 %</b>" in html


class Browser:
    """A page in a real browser, by the WebDriver protocol."""

    def __init__(self, driver: str, session: str) -> None:
        self._place = f"{driver}/session/{session}"

    def open(self, page: Path) -> None:
        ask(f"{self._place}/url", {"url": page.as_uri()})

    def run(self, script: str) -> Any:
        return ask(f"{self._place}/execute/sync", {"script": script, "args": []})

    def until(self, script: str) -> None:
        deadline = time.monotonic() + 60
        while not self.run(f"return {script}"):
            assert time.monotonic() < deadline, script
            time.sleep(0.02)

    def color(self, figure: str, x: int, y: int) -> list[int]:
        canvas = f"document.querySelector('#{figure} canvas')"
        return self.run(f"return [...{canvas}.getContext('2d').getImageData({x}, {y}, 1, 1).data]")[:3]  # type: ignore[no-any-return]


def ask(url: str, content: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(url, None if content is None else json.dumps(content).encode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
        return json.load(answer)["value"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs a browser: apt install chromium chromium-driver")
    folder = tmp_path_factory.mktemp("browser")
    with subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout
            line = next(line for line in process.stdout if "successfully" in line)
            place = "http://127.0.0.1:{}".format(re.findall(r"on port (\d+)", line)[0])
            options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={folder}"]}
            wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
            session = ask(f"{place}/session", wanted)["sessionId"]
            yield Browser(place, session)
            request = urllib.request.Request(f"{place}/session/{session}", method="DELETE")
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).close()
        finally:
            process.terminate()


@pytest.mark.slow
def test_a_browser_shows_frames_classes_errors_and_the_worst_first(browser: Browser, tmp_path: Path) -> None:
    flat = RgbdFrame(np.full((60, 80, 3), 100, np.uint8), np.full((60, 80), 2.0, np.float32))
    truth = np.zeros((60, 80), np.uint8)
    truth[:, 40:] = 255
    frames: list[ShownFrame] = []
    for name, label, accuracy in (("good", 0, 1.0), ("bad", 5, 0.0)):
        labels = np.full((60, 80), label, np.uint8)
        frames.append(shown(name, labels, flat, truth, scores=(accuracy, accuracy)))
    page = tmp_path / "page with space.html"
    Page("two frames", CLASSES, frames, 2, counts=np.ones((13, 14), np.int64)).save(page)
    browser.open(page)
    browser.until("document.body.dataset.shown === 'bad'")  # the worst first
    assert browser.color("labels", 5, 5) == list(CLASSES.colors[5])
    assert browser.color("error", 5, 5) == [200, 30, 30]
    assert browser.color("error", 60, 5) == [64, 64, 64]
    blended = [round((one + 100) / 2) for one in CLASSES.colors[5]]
    assert browser.color("overlay", 5, 5) == pytest.approx(blended, abs=4)  # WebP is not exact
    browser.run("document.getElementById('on').click()")
    browser.until("document.body.dataset.shown === 'good'")
    assert browser.color("error", 5, 5) == [225, 240, 225]
    browser.run("document.querySelector('#classes input[data-label=\"0\"]').click()")
    browser.until("document.querySelector('#labels canvas').getContext('2d').getImageData(5, 5, 1, 1).data[0] === 0")
    assert browser.color("overlay", 5, 5) == pytest.approx([100] * 3, abs=4)
    assert browser.run("return getComputedStyle(document.getElementById('class-0')).display") == "none"
    assert browser.run("return document.querySelectorAll('#confusion tbody tr').length") == 13
    assert browser.run("return performance.getEntriesByType('resource').length") == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two frames in the PNG layout, and its results, half of each image right."""
    folder = tmp_path_factory.mktemp("world")
    lines = []
    for name in ("images", "depths", "labels", "out/labels", "out/overlay"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        truth = np.full((60, 80), number, np.uint8)
        found = truth.copy()
        found[:30] = 7
        frame = noisy(number, (60, 80))
        cv2.imwrite(f"{folder}/images/{number}.png", frame.rgb)
        cv2.imwrite(f"{folder}/depths/{number}.png", (frame.depth * 1000).astype(np.uint16))
        cv2.imwrite(f"{folder}/labels/{number}.png", truth + 1)
        cv2.imwrite(f"{folder}/out/labels/{number}.png", found)
        cv2.imwrite(f"{folder}/out/overlay/{number}.jpg", frame.rgb)
        lines.append({"name": f"{number}", "label_set": "nyuv2_40", "classes": []})
    lines.append({"name": "2", "error": "the file is cut"})
    (folder / "test.txt").write_text("0\n1\n")
    (folder / "train.txt").write_text("")
    (folder / "out/summary.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_view_shows_what_segment_has_left_against_the_truth(world: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["view", str(world / "out"), "--data", str(world), "-o", str(page)]) == 0
    html = page.read_text()
    data = data_of(html)
    assert [frame["name"] for frame in data["frames"]] == ["0", "1"]
    assert [frame["accuracy"] for frame in data["frames"]] == [0.5, 0.5]
    assert {"camera", "depth", "labels", "truth"} <= set(data["frames"][0])
    assert "pixel accuracy <b>50.00 %</b>" in html
    assert "2, and 1 broken" in html


def test_view_does_without_the_recording_and_says_so(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main(["view", str(world / "out"), "-o", str(page)]) == 0
    assert "--input names it" in capsys.readouterr().err
    frame = data_of(page.read_text())["frames"][0]
    assert "overlay" in frame
    assert "camera" not in frame
    assert main(["view", str(world / "out"), "--input", str(world), "--frames", "1", "-o", str(page)]) == 0
    (frame,) = data_of(page.read_text())["frames"]
    assert "camera" in frame


def manifest_of(**selection: object) -> str:
    return json.dumps({"source": {"path": "drive"}, "identity": {"selection": selection}})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda out: (out / "summary.jsonl").unlink(), "holds no results"),
        (lambda out: (out / "summary.jsonl").rename(out / "manifest.json"), "is not finished"),
        (lambda out: (out / "summary.jsonl").rename(out / "labels/summary.jsonl"), "one of them: "),
        (lambda out: (out / "summary.jsonl").write_text("{"), "is damaged"),
        (lambda out: (out / "summary.jsonl").write_text("[1]\n"), "is damaged"),
        (lambda out: (out / "summary.jsonl").write_text('{"name": [0]}\n'), "is damaged"),
        (lambda out: (out / "manifest.json").write_text('{"source": "here"}'), "'source' is 'here', expected an obj"),
        (lambda out: (out / "manifest.json").write_text('{"identity": 5, "backends": 5}'), "'identity' is 5, expected"),
        (lambda out: (out / "manifest.json").write_text(manifest_of(every="2")), "its selection is {'every': '2'}"),
        (lambda out: (out / "manifest.json").write_text(manifest_of(topics=["a"])), "its selection is {'topics': "),
        (
            lambda out: (out / "summary.jsonl").write_text('{"name": "0", "error": "x"}\n'),
            "no frame that was segmented",
        ),
        (lambda out: (out / "labels/1.png").unlink(), "does not exist"),
        (lambda out: (out / "labels/1.png").write_bytes(b"\x89PNG"), "not a readable image"),
    ],
)
def test_results_that_cannot_be_shown_are_one_line(
    spoil: Callable[[Path], object], says: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(world / "out", out)
    spoil(out)
    assert main(["view", str(out)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "--input" not in line]
    assert says in line


def test_truth_of_other_frames_is_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    shutil.copytree(world, other, ignore=shutil.ignore_patterns("out"))
    for kind in ("images", "depths", "labels"):
        for file in (other / kind).iterdir():
            file.rename(file.with_stem(f"x{file.stem}"))
    (other / "test.txt").write_text("x0\nx1\n")
    assert main(["view", str(world / "out"), "--data", str(other)]) == 1
    assert "no frame of these results" in capsys.readouterr().err


def test_labels_with_a_palette_are_read_as_classes_whatever_their_colours(world: Path, tmp_path: Path) -> None:
    """As those of a model with classes of its own, two of which look the same."""
    out = tmp_path / "out"
    shutil.copytree(world / "out", out)
    labels = np.full((60, 80), 255, np.uint8)
    labels[:30], labels[30:45] = 1, 2
    (out / "labels/0.png").write_bytes(encode_indexed_png(labels, [(0, 255, 0), (184, 184, 184), (184, 184, 184)]))
    assert main(["view", str(out), "--frames", "2", "-o", str(tmp_path / "page.html")]) == 0
    frame = data_of((tmp_path / "page.html").read_text())["frames"][0]
    assert frame["shares"] == {"1": 0.5, "2": 0.25}
    png = np.frombuffer(base64.b64decode(frame["labels"].partition(",")[2]), np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(png, cv2.IMREAD_UNCHANGED), labels)


def test_whole_frames_are_not_kept(tmp_path: Path) -> None:
    frames, size = 24, (480, 640)
    for name in ("rgb", "depth", "out/labels"):
        (tmp_path / name).mkdir(parents=True)
    for number in range(frames):
        cv2.imwrite(f"{tmp_path}/rgb/{number:02d}.png", np.zeros((*size, 3), np.uint8))
        cv2.imwrite(f"{tmp_path}/depth/{number:02d}.png", np.zeros(size, np.uint16))
        cv2.imwrite(f"{tmp_path}/out/labels/{number:02d}.png", np.zeros(size, np.uint8))
    source = open_source(SourceSpec(f"{tmp_path}/rgb", f"{tmp_path}/depth"))
    names = [item.name for chunk in source.chunks for item in source.items(chunk)]
    lines = [{"name": name, "labels": f"labels/{at:02d}.png", "classes": []} for at, name in enumerate(names)]
    (tmp_path / "out/summary.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = {"source": {"path": f"{tmp_path}/rgb", "depth": f"{tmp_path}/depth"}}
    (tmp_path / "out/manifest.json").write_text(json.dumps(manifest))
    tracemalloc.start()
    page = results_page(Store(f"{tmp_path}/out"), Sources(classes="nyuv2_40"), frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(frame.camera is not None for frame in page.frames) == frames
    assert peak < frames * size[0] * size[1] * (3 + 4) // 2  # bytes of colour and depth


def bag_of(recording: Path, folder: Path) -> str:
    pytest.importorskip("rosbags", reason="writes and reads bags")
    from bag_files import write_bag

    recorded = RgbdRecording(recording)
    raws = [recorded.raw(at) for at in range(len(recorded))]
    return str(write_bag(folder, [(raw.rgb, raw.depth) for raw in raws], step=200_000_000, repeats=2))


def test_results_behind_a_url_are_shown_and_their_page_is_put_beside_them(world: Path) -> None:
    memory = pytest.importorskip("fsspec", reason="opens URLs").filesystem("memory")
    memory.put(str(world / "out"), "/results", recursive=True)
    assert main(["view", "memory://results", "--input", str(world)]) == 0
    data = data_of(memory.cat_file("/results/view.html").decode())
    assert [frame["name"] for frame in data["frames"]] == ["0", "1"]
    assert all({"camera", "labels"} <= set(frame) for frame in data["frames"])


@pytest.mark.parametrize("kind", ["folder", "pair", "bag"])
def test_what_segment_writes_is_shown_with_camera_and_depth_and_its_own_classes(
    kind: str, rendered: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="serves the model")
    pytest.importorskip("tqdm", reason="segment shows a progress bar")
    files = ["--rgb", f"{rendered}/frame-000001.color.png", "--depth", f"{rendered}/frame-000001.depth.png"]
    given = files if kind == "pair" else [str(rendered) if kind == "folder" else bag_of(rendered, tmp_path / "drive")]
    own = {at: (f"thing {at}", [at, 0, 255 - at]) for at in range(40)}
    classes = {"name": "own", "classes": [{"name": name, "color": color} for name, color in own.values()]}
    (tmp_path / "own.json").write_text(json.dumps(classes))
    options = ["--model", "demo", "--label-set", f"{tmp_path}/own.json", "--palette", "--quiet"]
    assert main(["segment", *given, *options, "-o", str(tmp_path / "out")]) == 0
    (tmp_path / "own.json").unlink()
    assert main(["view", str(tmp_path / "out")]) == 0
    data = data_of((tmp_path / "out/view.html").read_text())
    assert data["classes"]
    assert all((one["name"], one["color"]) == own[one["label"]] for one in data["classes"])
    frames = data["frames"]
    assert len(frames) == {"pair": 1, "folder": 4, "bag": 8}[kind]  # stamps of the bag repeat
    assert all({"camera", "depth", "labels"} <= set(frame) for frame in frames)
    line = json.loads((tmp_path / "out/summary.jsonl").read_text().splitlines()[0])
    told = {str(one["label"]): round(one["pixel_fraction"], 4) for one in line["classes"]}
    assert frames[0]["shares"] == told
