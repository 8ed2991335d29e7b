"""What tests with the real OpenVINO need."""

from __future__ import annotations

import importlib.util
import os

import pytest


def require() -> None:
    """Skip where OpenVINO is not installed; in CI fail."""
    if importlib.util.find_spec("openvino") is None:
        what = "OpenVINO is not installed: pip install openvino"
        pytest.fail(what, pytrace=False) if os.environ.get("CI") else pytest.skip(what)
