"""The cluster that the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.flink.cluster import FlinkCluster
    from deploy.flink.install import Flink


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cluster: starts a real cluster on this machine; run by `make test-cluster`")


@pytest.fixture(scope="session")
def flink() -> Flink:
    """Flink, installed into the cache folder by the first test that needs it."""
    from deploy.flink.install import cache_folder, install_flink

    return install_flink(cache_folder().resolve())


@pytest.fixture(scope="module")
def cluster(flink: Flink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    """A jobmanager and two taskmanagers of one slot."""
    from deploy.flink.cluster import FlinkCluster

    with FlinkCluster(flink, tmp_path_factory.mktemp("flink"), taskmanagers=2) as running:
        yield running
