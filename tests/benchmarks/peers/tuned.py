"""The same design with all its tuning: many threads, connections kept per thread, prepared inserts, no overhead asked.

Still a task and a commit per recipient: what is left when those are changed is no longer this design.
"""

import smtplib
import threading

import requests
from celery import Celery
from sqlalchemy import create_engine

from tests.benchmarks.peers.content import SENDER, email_bytes, push_payload
from tests.benchmarks.peers.settings import peer_settings

settings = peer_settings()
app = Celery("tuned", broker=settings.broker_url)
app.conf.task_ignore_result = True
app.conf.task_default_queue = "tuned"
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 16  # times the threads
app.conf.worker_disable_rate_limits = True

INSERT = "INSERT INTO peer_deliveries (run, recipient, state) VALUES (%s, %s, %s)"


# autocommit: one round trip a row, commit included. The threads wait for providers, so a few connections serve them
engine = create_engine(settings.database_url, isolation_level="AUTOCOMMIT", pool_size=10, max_overflow=0)


class ThreadConnections(threading.local):
    """Opened once per thread, then kept alive from task to task."""

    def __init__(self) -> None:
        self.http = requests.Session()
        self.http.verify = str(settings.ca_file)
        self.http.headers["Authorization"] = "Bearer sink-token"
        self.http.trust_env = False  # else each request looks for proxies and .netrc
        self.smtp: smtplib.SMTP | None = None


connections = ThreadConnections()


def send_push(run: str, recipient: int, token: str) -> None:
    answer = connections.http.post(settings.fcm_url, json=push_payload(token), timeout=10)
    record(run, recipient, "sent" if answer.ok else "failed")


def send_email(run: str, recipient: int, address: str) -> None:
    if connections.smtp is None:
        connections.smtp = smtplib.SMTP("127.0.0.1", settings.smtp_port, timeout=10)
    refused = connections.smtp.sendmail(SENDER, [address], email_bytes(address))
    record(run, recipient, "failed" if refused else "sent")


def record(run: str, recipient: int, state: str) -> None:
    pooled = engine.raw_connection()
    try:
        pooled.cursor().execute(INSERT, (run, recipient, state))
    finally:
        pooled.close()


push_task = app.task(name="push")(send_push)
email_task = app.task(name="email")(send_email)
