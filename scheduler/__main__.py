"""`python -m scheduler`: releases what is due and sweeps up; run two for safety."""

import signal
from types import FrameType

from celery import beat

from scheduler.ticks import Ticker, scheduler_class
from shared.db.reachable import check_tables
from shared.exits import exit_on_error
from shared.logging import configure_logging
from shared.observed import database_answers, serve_observations
from shared.queue.broker import create_celery
from shared.settings import load_settings


def main() -> None:
    with exit_on_error():
        _run()


def _run() -> None:
    settings = load_settings()
    configure_logging(settings, role="scheduler")
    database_url = settings.require_database_url()
    check_tables(settings)  # not the broker: releases and sweeps go on without it
    celery = create_celery(settings, main="scheduler")
    ticker = Ticker(settings)
    ticker.start()
    serve_observations(settings, is_ready=lambda: database_answers(database_url))
    service = beat.Service(app=celery, scheduler_cls=scheduler_class(ticker), remote_control=False)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        service.stop(wait=False)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    service.start(embedded_process=False)
    ticker.stop()


if __name__ == "__main__":
    main()
