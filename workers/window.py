"""The window: how many recipients of a process may be marked and not yet recorded. It bounds the copies of a kill.

Each provider account has a share of it, so that one that is silent, slow or throttled keeps its own recipients waiting
and nobody else's.
"""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from shared.domain.status import Lane

ANSWERING_SECONDS: Final = 2.0
"""So long after its last answer an account may take all that its limit allows; then only a beginner's part."""


@dataclass(slots=True)
class _Waiter:
    wanted: int
    granted: asyncio.Future[int]


@dataclass(slots=True, eq=False)
class Share:
    """What one account may hold of the window, and holds; made by `Window.share_of`."""

    window: "Window"
    project_seq: int
    limit: int  # recipients in flight that the provider takes now; adapts to throttling
    taken: int = 0
    answered_at: float = float("-inf")  # monotonic
    waiters: dict[Lane, deque[_Waiter]] = field(default_factory=dict)  # lanes in the order of their turns; none empty

    def set_limit(self, limit: int) -> None:
        is_wider = limit > self.limit
        self.limit = limit
        if is_wider:
            self.window.grant_soon()

    def note_answer(self) -> None:
        """The provider said something, so more may be sent than a beginner's part."""
        was_answering = self.is_answering
        self.answered_at = time.monotonic()
        if not was_answering:
            self.window.grant_soon()

    @property
    def is_answering(self) -> bool:
        return time.monotonic() - self.answered_at < ANSWERING_SECONDS

    def most(self, lane: Lane) -> int:
        """Slots the account could have now if nobody else had any."""
        limit = self.limit
        if lane is not Lane.BULK:
            limit += max(1, limit // 5)  # a campaign that fills the account leaves room for single messages
        if not self.is_answering:
            limit = min(limit, self.window.beginners_part)
        return min(limit, self.window.most(lane))

    def room(self, lane: Lane) -> int:
        """Slots it could take now; 0 or less: none."""
        return min(self.most(lane) - self.taken, self.window.room(lane, held=self.taken, project_seq=self.project_seq))

    async def take(self, lane: Lane, wanted: int) -> int:
        """Wait for at least one slot; as many as there are, up to `wanted`. Accounts take turns, and so do lanes."""
        if lane not in self.waiters and (room := self.room(lane)) > 0:
            return self._give(lane, min(wanted, room))
        waiter = _Waiter(wanted, asyncio.get_running_loop().create_future())
        self.waiters.setdefault(lane, deque()).append(waiter)
        self.window.put_in_line(self)
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if not waiter.granted.cancelled():  # one that is leaves the line when its turn comes
                self.give_back(lane, waiter.granted.result())
            raise

    def charge(self, lane: Lane, count: int) -> None:
        """Take slots at once, beyond the capacity if need be: for recipients that end without a provider call.

        They are in flight nowhere; the recorder gives a slot back for every result it commits.
        """
        self._give(lane, count)

    def give_back(self, lane: Lane, count: int) -> None:
        self.taken -= count
        self.window.give_back(lane, count, self.project_seq)

    def serve_next(self) -> bool:
        """Give slots to one of its waiters; False: none can have any now. A lane that is full holds up no other."""
        for lane, line in list(self.waiters.items()):
            while line and line[0].granted.done():
                line.popleft()
            if line and (room := self.room(lane)) > 0:
                waiter = line.popleft()
                waiter.granted.set_result(self._give(lane, min(waiter.wanted, room)))
                del self.waiters[lane]
                if line:
                    self.waiters[lane] = line  # last in turn
                return True
            if not line:
                del self.waiters[lane]
        return False

    def _give(self, lane: Lane, count: int) -> int:
        self.taken += count
        self.window.give(lane, count, self.project_seq)
        return count


class Window:
    """Slots shared by all batches of a process.

    A slot is taken before a recipient is marked and given back when its outcome is committed, so capacity is the
    number of recipients that a SIGKILL can leave unknown. Five rules keep the slots from running out for others:

    - an account holds at most two thirds of them, whatever its provider takes;
    - one that has not answered lately holds at most a beginner's part, a sixty-fourth;
    - the last eighth goes to accounts that hold less than a beginner's part;
    - the bulk lane holds at most five sixths;
    - the last sixteenth of all slots, and of the bulk lane's, goes to projects that hold less than half of them: one
      may have any number of accounts, and all of them may be silent.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.beginners_part = min(capacity, max(4, capacity // 64))
        self.taken = 0
        self._kept_for_beginners = capacity // 8
        self._kept_for_others = capacity // 16
        self._most_without_others = capacity // 2
        self._taken_by = Counter[int]()  # key: project_seq; none is zero
        self._most_of_an_account = max(1, capacity * 2 // 3)
        self._most_of_bulk = max(1, capacity * 5 // 6)
        self._taken_in_bulk = 0
        self._shares: dict[int, Share] = {}  # key: provider_seq
        self._line: dict[Share, None] = {}  # an ordered set: shares with waiters, in the order of their turns
        self._is_granting_soon = False

    def share_of(self, provider_seq: int, project_seq: int = 0) -> Share:
        """Of one provider account; until somebody sets its limit it has none of its own."""
        share = self._shares.get(provider_seq)
        if share is None:
            share = self._shares[provider_seq] = Share(self, project_seq, self.capacity)
        return share

    def forget(self, provider_seq: int) -> None:
        """Drop the share of an account that is not used any more, unless something of it is still under way."""
        share = self._shares.get(provider_seq)
        if share is not None and not share.taken and not share.waiters:
            del self._shares[provider_seq]

    def most(self, lane: Lane) -> int:
        """Slots that one account could have if it were alone and its provider took any number."""
        return min(self._most_of_an_account, self._most_of_bulk) if lane is Lane.BULK else self._most_of_an_account

    def room(self, lane: Lane, *, held: int, project_seq: int) -> int:
        """Slots that an account that holds so many could take now, whatever its own limit; 0 or less: none."""
        kept = self._kept_for_others if self._taken_by[project_seq] >= self._most_without_others else 0
        free = self.capacity - self.taken
        room = max(free - self._kept_for_beginners, min(free - kept, self.beginners_part - held))
        return min(room, self._most_of_bulk - self._taken_in_bulk - kept) if lane is Lane.BULK else room

    def give(self, lane: Lane, count: int, project_seq: int) -> None:
        self.taken += count
        self._taken_by[project_seq] += count
        if not self._taken_by[project_seq]:
            del self._taken_by[project_seq]
        if lane is Lane.BULK:
            self._taken_in_bulk += count

    def give_back(self, lane: Lane, count: int, project_seq: int) -> None:
        self.give(lane, -count, project_seq)
        self.grant_soon()

    def put_in_line(self, share: Share) -> None:
        self._line.setdefault(share)
        self.grant_soon()

    def grant_soon(self) -> None:
        """Serve the waiters once this turn of the loop is over: a commit gives back the slots of many batches."""
        if self._line and not self._is_granting_soon:
            self._is_granting_soon = True
            asyncio.get_running_loop().call_soon(self._grant)

    def _grant(self) -> None:
        """Serve the waiters, a share at a time in turn; one whose share is full does not hold up the others."""
        self._is_granting_soon = False
        turns, self._line = self._line, {}
        full: dict[Share, None] = {}
        while turns and self.taken < self.capacity:
            served: dict[Share, None] = {}
            for share in turns:
                (served if share.serve_next() else full)[share] = None
            turns = served
        self._line = {share: None for share in (full | turns) if share.waiters}
