"""SMTP: a mail for each recipient over a few pipelining connections; see README.md for the shape of a mail."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from shared.domain.outcome import AccountFault, Outcome, Refused, Retry, UnknownRule
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.email.address import Address, read_address
from shared.providers.email.hosts import AllowedHosts, NoConnection, hosts_of, overriding_host
from shared.providers.email.letter import MailRefused
from shared.providers.email.mail import MailTemplate, date_now
from shared.providers.email.opening import Login, Opener
from shared.providers.email.pool import SmtpPool
from shared.providers.email.terms import Limits, Mail, MailFlow
from shared.providers.renderings import Renderings
from shared.providers.trust import tls_context
from shared.settings import Settings

WAITING_MAILS: Final = 500
"""What a process holds ready beyond its connections: two commits' time (some 50 ms) at 10,000 mails a second."""


class SmtpAdapter:
    """Any SMTP server an account names."""

    kind: ClassVar[str] = "smtp"
    channel: ClassVar[Channel] = Channel.EMAIL
    largest_batch: ClassVar[int] = 1_000
    batch_size: ClassVar[int] = 500
    unknown_rule: ClassVar[UnknownRule] = UnknownRule.RESEND  # a copy carries the same Message-ID
    has_receipts: ClassVar[bool] = False

    def __init__(self, account: Account, *, settings: Settings, endpoint: str | None = None) -> None:
        """`endpoint`: host:port that takes the place of the account's servers."""
        self._account = account
        self._settings = settings
        self._endpoint = endpoint
        self._templates = Renderings[MailTemplate | MailRefused](self._render, MailRefused)
        self._pool: SmtpPool | None = None  # made with the first mails

    @property
    def in_flight_limit(self) -> int:
        """On each connection one mail awaits the reply to its dot while the next is announced. The others wait here, so
        that a connection never idles for the commits before and after a mail; they have not left when a worker dies.
        """
        return 2 * self._settings.smtp_connections + WAITING_MAILS

    async def send(self, content: Content, requests: Sequence[SendRequest]) -> AsyncIterator[tuple[int, Outcome]]:
        template = await self._templates.of(content)
        try:
            pool = self._pool = self._pool or self._make_pool()
            if isinstance(template, MailRefused):
                raise template
        except (MailRefused, NoConnection) as error:
            for index in range(len(requests)):
                yield index, error.outcome
            return
        recipients: list[tuple[int, Address]] = []
        for index, request in enumerate(requests):
            try:
                recipients.append((index, read_address(request.identifier)))
            except ValueError as error:
                yield index, Refused(str(error))
        if not recipients:
            return
        leave_by = asyncio.get_running_loop().time() + self._settings.provider_timeout_seconds
        flow = MailFlow(_mails(template, requests, recipients), leave_by=leave_by, count=len(recipients))
        pool.submit(flow)
        try:
            async for batch in flow.batches():
                for pair in batch:
                    yield pair
        finally:
            pool.drop(flow)

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()

    def _render(self, content: Content) -> MailTemplate | MailRefused:
        """The refusal is kept as well: it is the same for every group of the batch."""
        try:
            return MailTemplate(content, self._account)
        except MailRefused as refusal:
            return refusal

    def _make_pool(self) -> SmtpPool:
        """Raises NoConnection where the account names no usable host, or whom we trust cannot be read."""
        settings, credentials = self._settings, self._account.credentials
        login = _read_login(credentials)
        try:
            tls = tls_context(settings.ca_file)
        except OSError as error:  # TLS' own errors are such, too
            reason = f"the authorities in TIDINGS_CA_FILE cannot be read: {error.strerror or error}"
            raise NoConnection(Retry(reason, scope="provider")) from error
        opener = Opener(
            limits=Limits(
                reply_seconds=settings.provider_timeout_seconds,
                final_seconds=settings.smtp_final_timeout_seconds,
                mails=settings.smtp_mails_per_connection,
            ),
            tls=tls,
            login=login,
            allowed=AllowedHosts(settings.smtp_allowed_hosts),
        )
        hosts = (overriding_host(self._endpoint),) if self._endpoint else hosts_of(self._account)
        return SmtpPool(hosts, opener, connections=settings.smtp_connections)


def _read_login(credentials: Mapping[str, Any]) -> Login | None:
    """None: the account has none. Raises NoConnection."""
    username, password = str(credentials.get("username") or ""), str(credentials.get("password") or "")
    try:
        (username + password).encode()
    except UnicodeEncodeError:  # its text quotes them
        raise NoConnection(AccountFault("the provider's username or password has half characters")) from None
    return Login(username, password) if username and password else None


def _mails(
    template: MailTemplate, requests: Sequence[SendRequest], recipients: Sequence[tuple[int, Address]]
) -> Iterator[tuple[int, Mail]]:
    """Each made when a connection has room for it."""
    date = date_now()
    for index, recipient in recipients:
        head = template.head_for(requests[index], recipient, date)
        yield index, Mail(template.sender, recipient, head, template.tail)
