"""`input_size: auto`: the choice by measured times, what a model may be run at, and the choice with real networks."""

from __future__ import annotations

import json
from math import log2, prod
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="makes other sizes of a model")
from asymformer_ros.engine.context import BuildContext
from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.inference.ladder import SHARE, Choice, best_size, choose_size, next_size
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.card import ModelCard
from asymformer_ros.models.catalogue import DEMO
from asymformer_ros.models.labels import label_set
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.models.opening import open_model
from asymformer_ros.network import SMALL

SIZES = ((128, 160), (96, 128), (64, 96))
TORCH = ServingOptions(backend="torch", device="cpu")


def card(size: tuple[int, int], *others: tuple[int, int]) -> ModelCard:
    return ModelCard("a", label_set("nyuv2_13"), PUBLISHED_NORMALIZATION, size, input_sizes=others)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose own size is the middle one of SIZES, which its card allows."""
    made = ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=SIZES[1])
    named = ModelCard("three", made.card.label_set, made.card.normalization, SIZES[1], input_sizes=SIZES[::2])
    path = tmp_path_factory.mktemp("model") / "three.safetensors"
    ModelBundle(named, made.network).save(path)
    return path


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12, unique=True), st.floats(0.001, 2000))
def test_bisection_finds_the_largest_size_that_is_fast_enough_in_few_runs(edges: list[int], limit: float) -> None:
    sizes = [(edge, edge) for edge in sorted(edges, reverse=True)]
    times = {size: float(size[0]) for size in sizes}
    seconds = {sizes[0]: times[sizes[0]]}
    while (size := next_size(sizes, seconds, limit)) is not None:
        assert size not in seconds
        seconds[size] = times[size]
    fast = [size for size in sizes if times[size] <= limit]
    assert best_size(seconds, limit) == (fast[0] if fast else sizes[-1])
    assert len(seconds) <= 2 + log2(len(sizes))


def test_a_card_without_other_sizes_allows_those_down_to_half_its_own_with_the_same_aspect() -> None:
    published = card((480, 640)).sizes
    assert published == tuple(sorted(published, key=prod, reverse=True))
    assert (published[0], published[-1], len(published)) == ((480, 640), (256, 352), 8)
    assert all(abs(width / height - 4 / 3) < 0.07 for height, width in published)
    assert card((288, 384)).sizes == ((288, 384), (256, 352), (224, 288), (192, 256), (160, 224))
    assert card((32, 32)).sizes == ((32, 32),)


def test_a_card_that_names_sizes_allows_these_and_keeps_them_in_its_file(bundle: Path) -> None:
    own = open_model(str(bundle)).card
    assert own.sizes == SIZES
    assert ModelCard.from_json(json.loads(json.dumps(own.to_json()))) == own
    assert "input_sizes" not in card((64, 96)).to_json(), "older cards keep their hash"
    with pytest.raises(ConfigurationError, match="multiples of 32, got 60x96"):
        card((64, 96), (60, 96))


def test_the_model_at_another_size_is_known_by_the_same_hash_and_answers_at_that_size(bundle: Path) -> None:
    own, other = open_model(str(bundle)), open_model(str(bundle), input_size=(64, 96))
    assert own.model_sha256 == other.model_sha256 == ModelBundle.load(bundle).sha256
    assert own.sha256 != other.sha256, "an engine of one does not serve for the other"
    with Segmenter(open_serving(str(bundle), ServingOptions("torch", "cpu", input_size=(64, 96)))) as segmenter:
        assert segmenter.backend.card.input_size == (64, 96)


def test_an_onnx_file_has_one_size() -> None:
    path = str(DEMO.onnx)
    with pytest.raises(ConfigurationError, match="of one size, 256x320, not 64x96: give the bundle"):
        open_model(path, input_size=(64, 96))
    assert len(open_model(path, input_size=(256, 320)).card.sizes) > 1, "of the bundle that it was exported from"
    choice = choose_size(path, ServingOptions(device="cpu"), 1e6, BuildContext())
    assert (choice.sizes, choice.keeps, choice.asked) == (((256, 320),), False, None)


@pytest.mark.parametrize(("rate", "expected", "runs"), [(1e-3, SIZES[0], 2), (1e6, SIZES[2], 2)])
def test_a_rate_that_any_size_keeps_takes_the_largest_and_one_that_none_keeps_the_smallest(
    bundle: Path, caplog: pytest.LogCaptureFixture, rate: float, expected: tuple[int, int], runs: int
) -> None:
    caplog.set_level("INFO")
    choice = choose_size(str(bundle), TORCH, rate, BuildContext())
    assert (choice.size, choice.keeps, len(choice.seconds)) == (expected, rate < 1, runs)
    (told,) = [record for record in caplog.records if record.name.endswith("ladder")]
    assert told.levelname == ("INFO" if rate < 1 else "WARNING"), "a warning is shown in /diagnostics"
    assert told.getMessage() == f"input size {choice}"
    assert ("which it keeps" if rate < 1 else "which none keeps") in told.getMessage()


def test_what_is_too_slow_is_followed_by_a_smaller_size_even_where_it_would_be_taken_anew(bundle: Path) -> None:
    before = Choice(SIZES[0], SIZES[1], SIZES, {SIZES[0]: 0.1}, rate=1e-3)
    choice = choose_size(str(bundle), TORCH, 1e-3, BuildContext(), before)
    assert (choice.size, choice.sizes, choice.smaller) == (SIZES[1], SIZES[1:], SIZES[2:])
    assert choice.asked is None, "its own size, for which an ONNX file may be there"
    assert choose_size(str(bundle), TORCH, 1e-3, BuildContext(), choice).smaller == ()


def test_nothing_is_chosen_without_a_rate_and_nothing_goes_on_that_is_cancelled(bundle: Path) -> None:
    with pytest.raises(ConfigurationError, match="input_size is 'auto' but target_rate is 0: set target_rate"):
        choose_size(str(bundle), TORCH, 0.0, BuildContext())
    context = BuildContext()
    context.cancel()
    with pytest.raises(BackendError, match="cancelled"):
        choose_size(str(bundle), TORCH, 1.0, context)


def test_the_share_of_a_period_is_what_a_size_is_kept_by() -> None:
    times = {SIZES[0]: 1.01 * SHARE / 10, SIZES[1]: SHARE / 10}
    assert not Choice(SIZES[0], SIZES[0], SIZES, times, rate=10).keeps
    assert Choice(SIZES[1], SIZES[0], SIZES, times, rate=10).keeps
