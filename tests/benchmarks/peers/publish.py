"""Stands for a peer's API process: starts a task per recipient, as told line by line on standard input.

python -m tests.benchmarks.peers.publish usual
push run-1 500            -> prints the Unix second at which the first task was started
"""

import importlib
import sys
import time

from celery import Celery, Task

from tests.benchmarks.addresses import MAIL_ADDRESS, REGISTRATION_TOKEN

FORMS = {form.channel.value: form for form in (REGISTRATION_TOKEN, MAIL_ADDRESS)}


def publish(app: Celery, task: Task, channel: str, run: str, total: int) -> None:
    with app.producer_or_acquire() as producer:  # one connection for all, which `delay` in a loop has too
        for recipient in range(total):
            task.apply_async((run, recipient, FORMS[channel].address(recipient)), producer=producer)


def main() -> None:
    peer = importlib.import_module(f"tests.benchmarks.peers.{sys.argv[1]}")
    tasks = {"push": peer.push_task, "email": peer.email_task}
    for line in sys.stdin:
        channel, run, total = line.split()
        print(time.time(), flush=True)
        publish(peer.app, tasks[channel], channel, run, int(total))


if __name__ == "__main__":
    main()
