"""`python -m workers`: a Celery worker for all queues, or for some."""

import argparse
import os
import tempfile
from pathlib import Path

import structlog

from shared.errors import NotReachable
from shared.exits import exit_on_error
from shared.open_files import allow_as_many_open_files_as_possible
from shared.settings import load_settings

log = structlog.get_logger()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tidings worker", description="Plan and deliver what is due.")
    parser.add_argument("--queues", default="*", help="comma-separated names or patterns (email.*, *.bulk, fan_out)")
    parser.add_argument("--concurrency", type=int, default=os.cpu_count() or 2, help="processes (default: one a core)")
    arguments = parser.parse_args()
    allow_as_many_open_files_as_possible()
    with exit_on_error(), tempfile.TemporaryDirectory(prefix="tidings-metrics-") as directory:
        if load_settings().metrics_port is not None:
            # before anything imports prometheus_client: the parent serves the sum of its children's numbers;
            # where nobody reads them they stay in memory, so that files of children long gone do not pile up
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        _run(arguments.queues.split(","), arguments.concurrency, Path(directory))


def _run(patterns: list[str], concurrency: int, metrics_directory: Path) -> None:
    from prometheus_client import CollectorRegistry  # noqa: PLC0415  # after the directory is set

    from shared.db.reachable import check_tables  # noqa: PLC0415
    from shared.db.secrets import open_secret_box  # noqa: PLC0415
    from shared.logging import configure_logging  # noqa: PLC0415
    from shared.observed import database_answers, serve_observations  # noqa: PLC0415
    from shared.process_metrics import ProcessMetrics  # noqa: PLC0415
    from shared.queue.broker import choose_queues  # noqa: PLC0415
    from shared.queue.probe import probe_broker  # noqa: PLC0415
    from workers.app import Consumer, create_worker_app  # noqa: PLC0415

    settings = load_settings()
    configure_logging(settings, role="worker")  # Celery warns before it asks for it
    database_url = settings.require_database_url()
    queues = choose_queues(patterns)
    # fail here, in one line, rather than in every child
    open_secret_box(settings)
    check_tables(settings)
    try:
        probe_broker(settings)
    except NotReachable as error:  # no reason to end: rows say what is to be done, and it may be back any moment
        log.warning("the worker starts without its broker", error=error.message)
    celery = create_worker_app(settings, queues)
    registry = CollectorRegistry()
    registry.register(ProcessMetrics(metrics_directory))
    serve_observations(
        settings, is_ready=lambda: Consumer.is_connected and database_answers(database_url), registry=registry
    )
    celery.worker_main(
        [
            "--quiet",  # its banner is not JSON
            "worker",
            "--pool=prefork",
            f"--concurrency={concurrency}",
            f"--loglevel={settings.log_level}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--optimization=fair",
        ]
    )


if __name__ == "__main__":
    main()
