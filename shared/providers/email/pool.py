"""The connections of one SMTP account: opened as mails wait, fed in turn, closed when idle."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from shared.domain.outcome import AccountFault, Outcome, Retry
from shared.providers.email.connection import SmtpConnection
from shared.providers.email.hosts import NoConnection, SmtpHost
from shared.providers.email.opening import Opener
from shared.providers.email.staggered import first_good
from shared.providers.email.terms import Kept, Mail, MailFlow
from shared.providers.flow import Turns

COOL_DOWN_SECONDS: Final = 60.0
"""For so long we ask a server for no more connections than it granted, and begin with the host that worked last."""

GOODBYE_SECONDS: Final = 0.5
"""Whoever ends its event loop after closing lets a server that is still there take leave of TLS first."""


SOON_SECONDS: Final = 10.0
"""A mail comes again for which a connection is being opened: before that one is closed again, as idle."""

TOO_LATE: Final = Retry("there was no connection for it in time", scope="provider")


class SmtpPool:
    """Feeds its connections; belongs to one event loop."""

    def __init__(self, hosts: Sequence[SmtpHost], opener: Opener, *, connections: int) -> None:
        self._hosts = hosts
        self._opener = opener
        self._most = connections
        self._turns = Turns[Mail, Outcome]()
        self._given_back: deque[Mail] = deque()
        self._expiries: dict[MailFlow, asyncio.TimerHandle] = {}
        self._open: set[Kept] = set()
        self._idle: list[Kept] = []
        self._opening: set[asyncio.Task[SmtpConnection]] = set()
        self._loop = asyncio.get_running_loop()
        self._granted = connections  # as many as the server gave us when it refused one more
        self._granted_until = 0.0
        self._good_host = 0
        self._good_host_until = 0.0
        self._has_answered = False  # a server, since the last time that none gave us a connection
        self._step = ""  # what the last connection waits for that is being opened
        self._is_closed = False

    def submit(self, flow: MailFlow) -> None:
        self._turns.join(flow)
        self._expiries[flow] = self._loop.call_at(flow.leave_by, self._expire, flow)
        self._serve()

    def drop(self, flow: MailFlow) -> None:
        """Forget a flow. What is announced must not leave any more, and what is unanswered must not hold up others."""
        flow.abandon()
        self._expiries.pop(flow).cancel()
        for connection in [connection for connection in self._open if connection.carries(flow)]:
            connection.close()

    async def aclose(self) -> None:
        """Mails in motion get the outcome that a closed connection leaves them; the rest may be tried again."""
        self._is_closed = True
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        closing = list(self._open)
        for connection in closing:
            connection.close()
        self._fail_waiting(Retry("the adapter was closed"))
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                for connection in closing:
                    await connection.gone()

    def _expire(self, flow: MailFlow) -> None:
        """Its time is over, however long hosts may still hold up who opens connections to them."""
        too_late = self._too_late()
        kept = deque[Mail]()
        for mail in self._given_back:
            mail.settle(too_late) if mail.flow is flow else kept.append(mail)
        self._given_back = kept
        while (pair := flow.take()) is not None:
            flow.finish(pair[0], too_late)

    def _too_late(self) -> Retry:
        """With what holds it up, where that is a connection being opened: soon it may be there."""
        if not self._opening:
            return TOO_LATE
        return Retry(f"{TOO_LATE.reason}: {self._step} yet", SOON_SECONDS, scope="provider")

    # What a connection asks of its feeder

    def next_mail(self) -> Mail | None:
        """What waited too long, or for nobody any more, is answered here."""
        while (mail := self._take()) is not None:
            if not mail.flow.is_abandoned and self._loop.time() <= mail.flow.leave_by:
                return mail
            mail.settle(self._too_late())
        return None

    def _take(self) -> Mail | None:
        if self._given_back:
            return self._given_back.popleft()
        work = self._turns.take()
        if work is None:
            return None
        flow, index, mail = work
        mail.flow, mail.index = flow, index
        return mail

    def give_back(self, mail: Mail) -> None:
        self._given_back.append(mail)

    def note_step(self, waits_for: str) -> None:
        self._step = waits_for

    def note_idle(self, connection: Kept) -> None:
        self._idle.append(connection)

    def note_closed(self, connection: Kept) -> None:
        if connection not in self._open:
            return  # it never got beyond opening
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._serve()

    # Opening

    @property
    def _waiting(self) -> int:
        return len(self._given_back) + self._turns.waiting

    def _serve(self) -> None:
        """Wake idle connections and open new ones: as many as there are mails, up to the limit."""
        if self._is_closed:
            self._fail_waiting(Retry("the adapter was closed"))
            return
        while self._idle and self._waiting:
            self._idle.pop().start()
        most = self._granted if self._loop.time() < self._granted_until else self._most
        if not self._open and not self._has_answered:
            most = 1  # one finds out whether anybody is there, before fifty knock at once
        room = most - len(self._open) - len(self._opening)
        for _ in range(min(room, self._waiting - len(self._opening))):
            task = self._loop.create_task(self._open_first_good())
            self._opening.add(task)
            task.add_done_callback(self._note_opened)

    def _note_opened(self, task: asyncio.Task[SmtpConnection]) -> None:
        self._opening.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None and task.result().is_closed:  # since its last reply: nobody would be told of a mail it took
            self._note_failure(Retry("the server closed the connection as soon as it was open", scope="provider"))
        elif error is None:
            self._has_answered = True
            self._open.add(task.result())
            task.result().start()
            self._serve()
        elif isinstance(error, NoConnection):
            self._note_failure(error.outcome)
        else:  # a fault of ours; nobody shall wait for it to mend itself
            self._note_failure(Retry("no connection could be opened"))
            raise error

    async def _open_first_good(self) -> SmtpConnection:
        """Hosts in their order, beginning with the last that worked. Raises NoConnection."""
        is_remembered = self._loop.time() < self._good_host_until
        first = self._good_host if is_remembered else 0
        numbers = [first, *(number for number in range(len(self._hosts)) if number != first)]
        limits = self._opener.limits
        try:
            async with asyncio.timeout(limits.opening_seconds):
                number, connection = await first_good(
                    [partial(self._open_to, number) for number in numbers],
                    patience_seconds=limits.reply_seconds,
                    close=lambda opened: opened[1].close(),
                )
        except TimeoutError as error:
            reason = f"no host gave a connection within {limits.opening_seconds:g} s"
            raise NoConnection(Retry(reason, scope="provider")) from error
        if number != self._good_host or not is_remembered:
            self._good_host, self._good_host_until = number, self._loop.time() + COOL_DOWN_SECONDS
        return connection

    async def _open_to(self, number: int) -> tuple[int, SmtpConnection]:
        return number, await self._opener.open(self._hosts[number], self)

    def _note_failure(self, outcome: AccountFault | Retry) -> None:
        """One connection less is no matter for the mails while another lives."""
        others = len(self._open) + len(self._opening)
        if others:
            self._granted, self._granted_until = others, self._loop.time() + COOL_DOWN_SECONDS
        else:
            self._has_answered = False
            self._fail_waiting(outcome)

    def _fail_waiting(self, outcome: AccountFault | Retry) -> None:
        while (mail := self._take()) is not None:
            mail.settle(replace(outcome))  # one answer to many recipients would count as one failure of the account
