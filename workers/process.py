"""One worker process: an event loop that runs for ever in a thread, and everything that lives on it.

Celery's tasks only tell it that somebody rang. What is being delivered belongs to the loop, and ends with the process.
"""

import asyncio
import gc
import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import structlog
import uvloop

from shared.db.pools import CONNECTIONS_PER_PROCESS
from shared.db.queries.claim import LoadedProvider
from shared.db.receipt_addresses import ReceiptAddresses
from shared.db.secrets import open_secret_box, read_secret_keys
from shared.db.session import create_engine
from shared.domain.clock import DatabaseClock
from shared.domain.retry import RetryPolicy
from shared.files.contents import FileContents
from shared.files.objects import open_object_store
from shared.providers.contract import Account, Adapter
from shared.providers.http import HttpTransport
from shared.providers.registry import make_adapter
from shared.queue.rings import Ringer
from shared.settings import Settings
from shared.upkeep.context import UpkeepContext
from shared.upkeep.stand_in import run_where_nobody_ticks
from workers.accounts import Accounts
from workers.attachments import Attachments
from workers.claim import Claimer
from workers.deliver import Deliverer
from workers.drain import Drain
from workers.fan_out import Planner
from workers.loop_watch import LoopWatch
from workers.rate import Rate
from workers.recorder import DATABASE_AWAY, Recorder
from workers.tokens import PostgresTokenStore
from workers.window import Window

FILES = 1
"""Of the process's database connections, those that read attachments."""

SPARE_SECONDS = 5.0
"""What a stop may take beyond the longest provider call, before what is in flight is cancelled."""

UPKEEP_SECONDS = 1.0
"""How often a worker looks whether a scheduler ticks."""

log = structlog.get_logger()


def retry_policy(settings: Settings) -> RetryPolicy:
    return RetryPolicy(
        quick_retries=settings.quick_retries,
        base_seconds=settings.retry_base_seconds,
        cap_seconds=settings.retry_cap_seconds,
        max_resends=settings.max_resends,
        account_fault_patience_seconds=settings.account_fault_patience_seconds,
        account_fault_retry_seconds=settings.account_fault_retry_seconds,
    )


class WorkerProcess:
    """Starts its loop after the fork and keeps it running between tasks, so leases, PINGs and GOAWAYs are served."""

    def __init__(self, settings: Settings, queues: tuple[str, ...]) -> None:
        self._settings = settings
        self._queues = queues
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="worker-loop", daemon=True)
        self._ringer = Ringer(settings)
        self._watch = LoopWatch(self._loop)
        self._is_open = False

    def start(self) -> None:
        """Raises what opening the parts raises (ConfigurationError)."""
        self._ringer.start()
        self._thread.start()
        self._call(self._open()).result()
        self._watch.start()

    def stop(self) -> None:
        """Let what is in flight end, close the connections, and end the loop."""
        if self._is_open:
            patience_seconds = self._settings.longest_call_seconds + SPARE_SECONDS
            self._call(self._close(patience_seconds)).result(timeout=patience_seconds + 10)
        self._watch.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._ringer.stop()

    def hear(self) -> None:
        """Somebody rang. Returns when nothing more is due here, or soon: see `Drain.hear`."""
        self._call(self._drain.hear()).result()

    def _call(self, coroutine: Any) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _open(self) -> None:
        settings = self._settings
        self._engine = create_engine(settings, role="worker", pool_size=CONNECTIONS_PER_PROCESS["worker"] - FILES)
        # reading attachments takes long and comes in crowds: it must not stand in line before claims and records
        self._files_engine = create_engine(settings, role="worker", pool_size=FILES)
        secret_box = open_secret_box(settings)
        self._transport = HttpTransport(timeout_seconds=settings.provider_timeout_seconds, ca_file=settings.ca_file)
        self._token_store = PostgresTokenStore(
            self._engine, secret_box, lease_seconds=settings.provider_timeout_seconds + SPARE_SECONDS
        )
        clock, policy = DatabaseClock(), retry_policy(settings)
        window = Window(settings.window)
        self._rate_turns = asyncio.Semaphore()
        self._receipt_addresses = ReceiptAddresses(read_secret_keys(settings), settings.public_url)
        self._accounts = Accounts(secret_box, window, self._make_adapter, self._make_rate)
        self._recorder = Recorder(self._engine, clock, policy, lease_seconds=settings.lease_seconds)
        deliverer = Deliverer(
            recorder=self._recorder,
            accounts=self._accounts,
            attachments=Attachments(self._files_engine, FileContents(self._files_engine, open_object_store(settings))),
            clock=clock,
            policy=policy,
            provider_timeout_seconds=self._provider_timeout_seconds,
        )
        self._drain = Drain(
            engine=self._engine,
            queues=self._queues,
            planner=Planner(self._engine, settings),
            claimer=Claimer(self._engine, clock, window, lease_seconds=settings.lease_seconds),
            deliverer=deliverer,
            accounts=self._accounts,
            window=window,
            ringer=self._ringer,
            unrung_seconds=settings.unrung_seconds,
        )
        self._upkeep = UpkeepContext(self._engine, settings, self._ringer)
        self._recorder.start()
        self._running = [asyncio.create_task(self._drain.run()), asyncio.create_task(self._keep_up())]
        self._is_open = True
        gc.freeze()  # what is here by now stays: searching it for garbage would hold up what is in flight

    async def _keep_up(self) -> None:
        """Release and recover where no scheduler does."""
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            try:
                await run_where_nobody_ticks(self._upkeep)
            except DATABASE_AWAY:
                continue  # the drain has said so
            except Exception:
                log.exception("upkeep failed")

    async def _close(self, patience_seconds: float) -> None:
        await self._drain.stop(patience_seconds=patience_seconds)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._recorder.stop()
        await self._accounts.aclose()
        await self._transport.aclose()
        await self._files_engine.dispose()
        await self._engine.dispose()

    def _make_adapter(self, kind: str, account: Account, is_live: bool) -> Adapter:  # noqa: FBT001  # a callback
        return make_adapter(
            kind,
            replace(account, receipts_url=self._receipt_addresses.url_of(account.provider_seq)),
            settings=self._settings,
            token_store=self._token_store,
            transport=self._transport,
            live=is_live if self._settings.live is None else self._settings.live,
        )

    def _make_rate(self, provider: LoadedProvider) -> Rate | None:
        per_second = self._settings.rates.get(provider.kind)
        return Rate(self._engine, provider.seq, per_second, turns=self._rate_turns) if per_second else None

    def _provider_timeout_seconds(self, kind: str) -> float:
        """The longest a call to this kind may take."""
        return self._settings.longest_call_seconds if kind == "smtp" else self._settings.provider_timeout_seconds
