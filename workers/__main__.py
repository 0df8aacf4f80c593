"""`python -m workers`: a Celery worker for all queues, or for some."""

import argparse
import os
import sys
import tempfile

from shared.errors import TidingsError


def main() -> None:
    parser = argparse.ArgumentParser(prog="tidings worker", description="Plan and deliver what is due.")
    parser.add_argument("--queues", default="*", help="comma-separated names or patterns (email.*, *.bulk, fan_out)")
    parser.add_argument("--concurrency", type=int, default=os.cpu_count() or 2, help="processes (default: one a core)")
    arguments = parser.parse_args()
    # before anything imports prometheus_client: the parent serves the sum of its children's numbers
    with tempfile.TemporaryDirectory(prefix="tidings-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        try:
            _run(arguments.queues.split(","), arguments.concurrency)
        except TidingsError as error:
            sys.exit(f"tidings worker: {error.message}" + (f"\n  {error.hint}" if error.hint else ""))


def _run(patterns: list[str], concurrency: int) -> None:
    from prometheus_client import CollectorRegistry, multiprocess  # noqa: PLC0415  # after the directory is set

    from shared.db.secrets import open_secret_box  # noqa: PLC0415
    from shared.observed import database_answers, serve_observations  # noqa: PLC0415
    from shared.queue.broker import choose_queues  # noqa: PLC0415
    from shared.settings import load_settings  # noqa: PLC0415
    from workers.app import create_worker_app  # noqa: PLC0415

    settings = load_settings()
    database_url = settings.require_database_url()
    open_secret_box(settings)  # fail here, in one line, rather than in every child
    celery = create_worker_app(settings, choose_queues(patterns))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    serve_observations(settings, is_ready=lambda: database_answers(database_url), registry=registry)
    celery.worker_main(
        [
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
