"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import native

# Time limits are for tests that wait; the first example of a kernel test may build the library it calls.
settings.register_profile("tbft", deadline=None)
settings.load_profile("tbft")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("TBFT_PORT"):
        skip = pytest.mark.skip(reason="needs a board: set TBFT_PORT to its port")
        for item in items:
            if "hardware" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout's root."""
    return native.REPO


@pytest.fixture(scope="session")
def native_build() -> native.NativeBuild:
    """The firmware built for this computer: `.binary`, `.testlib`, `.folder`."""
    return native.native()


@pytest.fixture(scope="session")
def sanitize_build() -> native.NativeBuild:
    """The same with address and undefined-behaviour sanitizers. The test library of this build cannot be loaded into
    Python; use its `.binary` and `.cpp_tests()`."""
    return native.sanitized()


@pytest.fixture(scope="session")
def portable_build() -> native.NativeBuild:
    """The same without this CPU's own instructions, in build/portable."""
    return native.portable()
