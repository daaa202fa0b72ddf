"""The options and names in docs/export.md and docs/precision.md are real."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from asymformer_ros.cli.main import build_parser

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = {"export.md": "export", "precision.md": "precision"}


@pytest.mark.parametrize(("page", "command"), PAGES.items())
def test_each_option_of_a_command_is_on_its_page(page: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args([command, "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help", "--output"}
    text = (DOCS / page).read_text()
    assert [option for option in sorted(options) if option not in text] == []


def test_the_example_of_depth_bytes_is_as_it_says() -> None:
    example = re.search(r"```python\n(.+?)```", (DOCS / "export.md").read_text(), flags=re.DOTALL)
    assert example is not None
    names: dict[str, object] = {}
    exec(example[1], names)
    packed = names["packed"]
    assert isinstance(packed, np.ndarray)
    assert (packed.shape, packed.dtype) == ((480, 640, 2), np.uint8)


def test_the_names_in_the_docs_are_in_the_file() -> None:
    pytest.importorskip("onnx", reason="export needs onnx")
    pytest.importorskip("torch", reason="export needs PyTorch")
    from asymformer_ros.models.bundle import ModelBundle
    from asymformer_ros.models.export import export_model
    from asymformer_ros.models.labels import label_set
    from asymformer_ros.network import SMALL

    model = export_model(ModelBundle.untrained(SMALL, label_set("nyuv2_40"), input_size=(32, 32)))
    known = {tensor.name for tensor in model.graph.initializer} | {node.name for node in model.graph.node}
    text = (DOCS / "export.md").read_text() + (DOCS / "precision.md").read_text()
    named = re.findall(r"[`\"](/network/stages[^`\"]+|network\.[^`\"]+)[`\"]", text)
    assert len(named) == 3
    assert set(named) <= known
    assert all(f"`{entry.key}`" in text for entry in model.metadata_props)
