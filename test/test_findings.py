"""What a check found."""

import json

import pytest

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.findings import Finding, worst


def test_a_finding_is_one_line_for_the_log_and_plain_fields_for_scripts() -> None:
    finding = Finding("warning", "no-publisher", "nobody publishes /rgb/image", "start the camera")
    assert finding.sentence == "nobody publishes /rgb/image: start the camera"
    assert Finding("ok", "rates", "colour and depth at 30 Hz").sentence == "colour and depth at 30 Hz"
    assert json.loads(json.dumps(finding.to_json())) == {
        "severity": "warning",
        "cause": "no-publisher",
        "text": "nobody publishes /rgb/image",
        "advice": "start the camera",
    }


def test_the_worst_severity_counts() -> None:
    ok, warning, error = (Finding(severity, "x", "y") for severity in ("ok", "warning", "error"))
    assert (worst([]), worst([ok]), worst([ok, warning, ok]), worst([error, warning])) == (
        "ok",
        "ok",
        "warning",
        "error",
    )


def test_another_severity_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="severity is 'fatal': expected one of ok, warning, error"):
        Finding("fatal", "x", "y")
