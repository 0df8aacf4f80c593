"""A bucket of object storage, and the settings that keep files in it."""

from collections.abc import Iterator

import pytest

from tests.s3_server import Bucket, serve_bucket


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serve_bucket() as bucket:
        yield bucket
