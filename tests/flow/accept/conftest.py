"""The same desk as for deliveries, used through the API."""

from tests.flow.deliver.conftest import desk

__all__ = ["desk"]
