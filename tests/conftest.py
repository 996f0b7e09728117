"""What a test may need of the machine: a marked test is skipped, with the reason, without it."""

import os
import shutil

import httpx
import hypothesis
import pytest

from omni import assets, config
from omni.errors import AssetError

# Tests never ask a model hub for anything, nor report to anyone.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

# No test is timed: how long an example takes is this machine's business.
hypothesis.settings.register_profile("omni", deadline=None)
hypothesis.settings.load_profile("omni")
for wait in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, wait, 120.0)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, lack in LACKS.items():
        if item.get_closest_marker(marker) and (reason := lack()):
            pytest.skip(reason)


def lacking_models() -> str:
    settings = config.load("embedded")
    try:
        for name in settings.files:
            assets.resolve(settings, name)
    except AssetError as error:
        return error.message
    return ""


def lacking_browser() -> str:
    return "" if shutil.which("chromium") else "Chromium is not installed"


def lacking_gpu() -> str:
    import torch

    return "" if torch.cuda.is_available() else "there is no CUDA device"


LACKS = {"models": lacking_models, "browser": lacking_browser, "gpu": lacking_gpu}
