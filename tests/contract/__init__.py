"""What every adapter must do, shown against scripted servers that speak the wire."""

import pytest

pytest.register_assert_rewrite("tests.contract.suite")
