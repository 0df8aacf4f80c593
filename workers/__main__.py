"""`python -m workers`: a Celery worker for all queues, or for some."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from shared.errors import TidingsError
from shared.settings import load_settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="tidings worker", description="Plan and deliver what is due.")
    parser.add_argument("--queues", default="*", help="comma-separated names or patterns (email.*, *.bulk, fan_out)")
    parser.add_argument("--concurrency", type=int, default=os.cpu_count() or 2, help="processes (default: one a core)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidings-metrics-") as directory:
        try:
            if load_settings().metrics_port is not None:
                # before anything imports prometheus_client: the parent serves the sum of its children's numbers;
                # where nobody reads them they stay in memory, so that files of children long gone do not pile up
                os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
            _run(arguments.queues.split(","), arguments.concurrency, Path(directory))
        except TidingsError as error:
            sys.exit(f"tidings worker: {error.message}" + (f"\n  {error.hint}" if error.hint else ""))


def _run(patterns: list[str], concurrency: int, metrics_directory: Path) -> None:
    from prometheus_client import CollectorRegistry  # noqa: PLC0415  # after the directory is set

    from shared.db.secrets import open_secret_box  # noqa: PLC0415
    from shared.logging import configure_logging  # noqa: PLC0415
    from shared.observed import database_answers, serve_observations  # noqa: PLC0415
    from shared.process_metrics import ProcessMetrics  # noqa: PLC0415
    from shared.queue.broker import choose_queues  # noqa: PLC0415
    from workers.app import create_worker_app  # noqa: PLC0415

    settings = load_settings()
    configure_logging(settings, role="worker")  # Celery warns before it asks for it
    database_url = settings.require_database_url()
    open_secret_box(settings)  # fail here, in one line, rather than in every child
    celery = create_worker_app(settings, choose_queues(patterns))
    registry = CollectorRegistry()
    registry.register(ProcessMetrics(metrics_directory))
    serve_observations(settings, is_ready=lambda: database_answers(database_url), registry=registry)
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
