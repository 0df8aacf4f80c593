"""Celery as the tutorials have it: prefork, a task per recipient, a fresh connection per call, a commit per row."""

import smtplib

import requests
from celery import Celery
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from tests.benchmarks.peers.content import email_message, push_payload
from tests.benchmarks.peers.ledger import PeerDelivery
from tests.benchmarks.peers.settings import peer_settings

settings = peer_settings()
app = Celery("usual", broker=settings.broker_url)
app.conf.task_ignore_result = True
app.conf.task_default_queue = "usual"
app.conf.broker_connection_retry_on_startup = True
engine = create_engine(settings.database_url)  # connects in the child that first uses it, never before the fork


def send_push(run: str, recipient: int, token: str) -> None:
    answer = requests.post(
        settings.fcm_url,
        json=push_payload(token),
        headers={"Authorization": "Bearer sink-token"},
        verify=str(settings.ca_file),
        timeout=10,
    )
    record(run, recipient, "sent" if answer.ok else "failed")


def send_email(run: str, recipient: int, address: str) -> None:
    with smtplib.SMTP("127.0.0.1", settings.smtp_port, timeout=10) as connection:
        refused = connection.send_message(email_message(address))
    record(run, recipient, "failed" if refused else "sent")


def record(run: str, recipient: int, state: str) -> None:
    with Session(engine) as session:
        session.add(PeerDelivery(run=run, recipient=recipient, state=state))
        session.commit()


push_task = app.task(name="push")(send_push)
email_task = app.task(name="email")(send_email)
