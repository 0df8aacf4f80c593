import pytest
from prometheus_client import CollectorRegistry, generate_latest

from shared import metrics
from shared.metrics import PassingGauge


def test_a_value_that_nobody_renews_is_no_longer_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    ages = PassingGauge("tidings_ages_seconds", "Ages", ["queue"], registry=registry)
    ages.labels("fan_out").set(40)
    assert registry.get_sample_value("tidings_ages_seconds", {"queue": "fan_out"}) == 40

    monkeypatch.setattr(metrics, "KNOWN_FOR_SECONDS", 0.0)
    assert b'queue="fan_out"' not in generate_latest(registry)

    monkeypatch.undo()
    ages.labels("fan_out").set(0)
    assert registry.get_sample_value("tidings_ages_seconds", {"queue": "fan_out"}) == 0
