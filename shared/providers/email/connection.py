"""One SMTP connection: a state machine over its replies, which keeps two mails in motion where the server pipelines.

    MAIL RCPT DATA ─▶ 354 ─▶ the mail, its dot, and MAIL RCPT DATA of the next in one write ─▶ 250 … 354 ─▶ …

So a mail costs one round trip, one write and one read. Callbacks and no tasks: at thousands of mails a second a task
switch for each reply would be most of the work.
"""

import asyncio
import ssl
from collections import deque
from typing import Final, cast

from shared.domain.outcome import Accepted, Refused, Retry, Unknown
from shared.providers.email.replies import Phase, Reply, judge
from shared.providers.email.reply_reader import NotSmtp, ReplyReader
from shared.providers.email.terms import Extensions, Feeder, Limits, Mail, MailFlow

JOINED_LIMIT_BYTES: Final = 256 * 1024  # shorter mails are written in one piece with what follows them


class SmtpConnection(asyncio.Protocol):
    """First asked step by step (see opening.py), then `start`ed and fed with mails."""

    def __init__(self, limits: Limits, feeder: Feeder) -> None:
        self.extensions = Extensions()
        self.transport: asyncio.Transport | None = None
        self._limits = limits
        self._feeder = feeder
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._loop.time()
        self._reader = ReplyReader()
        self._is_opening = True
        self._is_upgrading = False  # to TLS: what we say in clear would be a part of the handshake
        self._spoke_out_of_turn = False
        self._ending = ""  # why it ended, where we know
        self._asked: asyncio.Future[list[Reply]] = self._loop.create_future()  # first for the greeting; empty: lost
        self._expected: deque[Phase] = deque()  # phases whose replies are still to come, in order
        self._unsent: deque[tuple[Phase, bytes]] = deque()  # commands that wait for those, without pipelining
        self._entering: Mail | None = None  # its envelope is sent
        self._is_settled = False  # the mail entering was refused; the rest of its replies say nothing more
        self._awaiting: Mail | None = None  # its dot is sent
        self._needs_reset = False
        self._mails_begun = 0
        self._is_kept = False  # it has carried a mail or idled: the server may be tired of it
        self._tick_seconds = min(limits.reply_seconds, limits.final_seconds, limits.idle_seconds)
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.is_closed = False
        self._gone = asyncio.Event()

    # Opening

    async def ask(self, command: bytes | None) -> list[Reply]:
        """Send a command (None: the greeting comes unasked) and wait for its reply, all its lines.

        Raises ConnectionResetError, which says what ended the connection.
        """
        if command is not None and not self.is_closed:
            self._asked = self._loop.create_future()
            self._write(command + b"\r\n")
        replies = await self._asked
        if not replies:
            raise ConnectionResetError(self._ending)
        return replies

    async def upgrade(self, tls: ssl.SSLContext, server_name: str) -> None:
        """To TLS, once the server is ready for it. Raises OSError, of which TLS' own errors are."""
        if self.is_closed or self.transport is None or self.transport.is_closing():
            raise ConnectionResetError(self._ending or "the server closed the connection")
        self._is_upgrading = True
        try:
            self.transport = await self._loop.start_tls(self.transport, self, tls, server_hostname=server_name)
        except RuntimeError as error:  # uvloop's word for a connection that has ended meanwhile
            raise ConnectionResetError("the server closed the connection") from error
        self._is_upgrading = False

    @property
    def has_unread(self) -> bool:
        """Bytes after the last reply: before TLS starts there must be none, or they were slipped in."""
        return self._reader.has_unread or self._spoke_out_of_turn

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance

    # Sending

    def start(self) -> None:
        """Opened, or woken while idle: take mails until there are none."""
        self._is_opening = False
        mail = self._take()
        if mail is not None:
            self._write(self._enter(mail))
        elif self._may_take():
            self._is_kept = True
            self._wait(self._limits.idle_seconds)
            self._feeder.note_idle(self)
        else:
            self.close()

    def close(self) -> None:
        """Say goodbye where no reply is outstanding; abandon what is."""
        may_speak = not self._is_upgrading and (self._asked.done() or not self._is_opening)
        if may_speak and not self.is_closed and not self._expected:
            self._write(b"QUIT\r\n")
        self._lose("the connection was closed", is_orderly=True)

    async def gone(self) -> None:
        await self._gone.wait()

    def carries(self, flow: MailFlow) -> bool:
        return any(mail is not None and mail.flow is flow for mail in (self._entering, self._awaiting))

    def _may_take(self) -> bool:
        is_young = self._loop.time() - self._opened_at < self._limits.lifetime_seconds
        return is_young and self._mails_begun < self._limits.mails

    def _take(self) -> Mail | None:
        while self._may_take():
            mail = self._feeder.next_mail()
            refusal = None if mail is None else self._refusal_of(mail)
            if mail is None or refusal is None:
                return mail
            mail.settle(refusal)
        return None

    def _refusal_of(self, mail: Mail) -> Refused | None:
        """What the server's extensions rule out need not be tried."""
        if mail.needs_utf8 and not self.extensions.utf8:
            return Refused("the server does not take addresses beyond ASCII (no SMTPUTF8)")
        if self.extensions.size and mail.size_bytes > self.extensions.size:
            return Refused(f"the mail has {mail.size_bytes} bytes, the server takes {self.extensions.size}")
        return None

    def _enter(self, mail: Mail) -> bytes:
        """The commands that announce a mail: all of them, or the first where the server wants to be asked singly."""
        self._entering, self._is_settled = mail, False
        self._mails_begun += 1
        steps = [(Phase.RSET, b"RSET\r\n")] if self._needs_reset else []
        self._needs_reset = False
        steps += [
            (Phase.MAIL, self._mail_command(mail)),
            (Phase.RCPT, f"RCPT TO:<{mail.recipient.text}>\r\n".encode()),
            (Phase.DATA, b"DATA\r\n"),
        ]
        if not self.extensions.pipelining:
            self._unsent = deque(steps[1:])
            steps = steps[:1]
        for phase, _ in steps:
            self._expect(phase)
        return b"".join([command for _, command in steps])

    def _mail_command(self, mail: Mail) -> bytes:
        size = f" SIZE={mail.size_bytes}" if self.extensions.size is not None else ""
        utf8 = " SMTPUTF8" if mail.needs_utf8 else ""
        return f"MAIL FROM:<{mail.sender.text}>{size}{utf8}\r\n".encode()

    def _send_content(self, mail: Mail) -> None:
        """The mail and, where the server pipelines, the envelope of the next behind it."""
        self._awaiting, self._entering = mail, None
        self._expect(Phase.DOT)
        following = self._take() if self.extensions.pipelining else None
        envelope = self._enter(following) if following is not None else b""
        if len(mail.tail) <= JOINED_LIMIT_BYTES:
            self._write(mail.head + mail.tail + envelope)
        else:
            self._write(mail.head)
            self._write(mail.tail)
            self._write(envelope)

    def _write(self, data: bytes) -> None:
        """Nothing where the connection ends already: uvloop raises then, asyncio does not."""
        assert self.transport is not None
        if not self.transport.is_closing():
            self.transport.write(data)

    # Replies

    def data_received(self, data: bytes) -> None:
        try:
            for lines in self._reader.feed(data):
                if self.is_closed:
                    return
                if self._is_opening:
                    self._answer(lines)
                else:
                    self._note_reply(int(lines[-1][:3]), lines[-1])
        except NotSmtp as error:
            self._lose(str(error))

    def _answer(self, lines: list[bytes]) -> None:
        if self._asked.done():
            self._spoke_out_of_turn = True
            self._lose("the server spoke out of turn")
        else:
            self._asked.set_result([Reply.read(line) for line in lines])

    def _note_reply(self, code: int, line: bytes) -> None:
        if not self._expected:
            self._lose("the server closed the idle connection")
            return
        phase = self._expected.popleft()
        if phase is Phase.DOT:
            self._note_end(code, line)
        else:
            self._note_envelope(phase, code, line)
        if self.is_closed:
            return
        if self._expected:
            self._wait(self._limits.final_seconds if self._expected[0] is Phase.DOT else self._limits.reply_seconds)
        else:
            self.start()

    def _note_end(self, code: int, line: bytes) -> None:
        """The reply to a dot. After the lone dot that ends a refused mail there is nobody to tell."""
        mail, self._awaiting = self._awaiting, None
        if mail is None:
            return
        self._is_kept = True
        if 200 <= code < 300:
            mail.settle(Accepted(_queue_id(line)))
        elif 400 <= code < 600:
            self._settle(mail, Phase.DOT, line)
        else:
            self._awaiting = mail
            self._lose(f"the server answered {code} to {Phase.DOT}")

    def _note_envelope(self, phase: Phase, code: int, line: bytes) -> None:
        mail = self._entering
        assert mail is not None
        if phase is Phase.DATA:
            self._note_go_ahead(mail, code, line)
        elif not 200 <= code < 300:
            if phase is Phase.RSET:  # it still has the envelope before, whose mail this one would become
                self._lose(f"the server answered {code} to {Phase.RSET}")
            else:
                self._refuse(mail, phase, code, line)
        elif self._unsent:
            phase, command = self._unsent.popleft()
            self._expect(phase)
            self._write(command)

    def _note_go_ahead(self, mail: Mail, code: int, line: bytes) -> None:
        if code != 354:
            self._refuse(mail, Phase.DATA, code, line)
        elif self._is_settled:  # the server takes a mail whose only recipient it refused: give it none
            self._entering = None
            self._expect(Phase.DOT)
            self._write(b".\r\n")
        elif self._loop.time() > mail.flow.leave_by:
            self._lose(f"the server was too slow up to {Phase.DATA}")
        else:
            self._send_content(mail)

    def _refuse(self, mail: Mail, phase: Phase, code: int, line: bytes) -> None:
        """The first refusal of an envelope is its outcome; with its last reply the mail is done with."""
        if not self._is_settled:
            self._is_settled = True
            if code == 421 and self._may_give_back(mail):
                self._entering = None
                self._feeder.give_back(mail)
                self._lose("the server closed the connection")
                return
            self._settle(mail, phase, line)
        if not self._expected:
            self._unsent.clear()
            self._entering = None
            self._needs_reset = True

    def _settle(self, mail: Mail, phase: Phase, line: bytes) -> None:
        verdict, is_usable = judge(phase, Reply.read(line))
        mail.settle(verdict)
        if not is_usable:
            if mail is self._entering:
                self._entering = None
            self._lose(verdict.reason)

    def _expect(self, phase: Phase) -> None:
        if not self._expected:
            self._wait(self._limits.final_seconds if phase is Phase.DOT else self._limits.reply_seconds)
        self._expected.append(phase)

    # The end

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose("the server closed the connection" if exc is None else f"the connection broke: {exc}")
        self._gone.set()

    def _lose(self, reason: str, *, is_orderly: bool = False) -> None:
        """Close, and say what is known of the mails in motion.

        After the dot the server may have taken the mail; before it, it cannot have. What is not yet written is not
        written any more, unless in order.
        """
        if self.is_closed:
            return
        self.is_closed = True
        self._ending = reason
        if self._timer is not None:
            self._timer.cancel()
        if not self._asked.done():
            self._asked.set_result([])
        if self.transport is not None:
            self.transport.close() if is_orderly else self.transport.abort()
        if self._awaiting is not None:
            self._awaiting.settle(Unknown(f"{reason}; the mail had been sent"))
        if self._entering is not None and not self._is_settled:
            if self._may_give_back(self._entering):
                self._feeder.give_back(self._entering)
            else:
                self._entering.settle(Retry(f"{reason}; the mail had not been sent"))
        self._feeder.note_closed(self)

    def _may_give_back(self, mail: Mail) -> bool:
        """A server may close any kept connection, as mails end or while it idles: no fault, and no attempt of the mail.

        Each time uses up a connection that was good for something, and a mail waits no longer than its flow allows. A
        server that takes connections and no mail is told apart by connections that never carried one.
        """
        return self._is_kept and not mail.flow.is_abandoned

    # Time

    def _wait(self, seconds: float) -> None:
        """The next reply is due by then. The timer looks at the deadline when it rings, and is not moved with it."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        left = self._deadline - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(min(left, self._tick_seconds), self._ring)
        elif self._expected:
            self._lose(f"no reply to {self._expected[0]} in time")
        else:
            self.close()  # idle


def _queue_id(line: bytes) -> str:
    """`250 2.0.0 Ok: queued as 4F1C2A`: the server's own name for the mail, as far as it is one word at the end."""
    return line.rstrip().rpartition(b" ")[2].decode("ascii", "replace")[:120]
