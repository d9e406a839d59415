from collections.abc import Iterator

import pytest

from distributed.session import ray_session


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One small Ray for all tests: starting it takes seconds."""
    with ray_session(num_cpus=2):
        yield
