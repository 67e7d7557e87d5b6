"""Which files go first when several processes share the tests: a long file at the end would leave the others waiting."""

from __future__ import annotations

import pytest

LONG = ("tests/stores/", "tests/docs/", "tests/dashboard/", "tests/ingest/", "tests/house/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of the folders that wait most for other processes first, each file's tests in their order."""
    items.sort(key=lambda item: next((i for i, folder in enumerate(LONG) if item.nodeid.startswith(folder)), len(LONG)))
