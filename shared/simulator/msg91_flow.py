"""A call as MSG91 took it, what it drops as a repeat, and the webhooks in which it tells how each number went on."""

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Literal
from urllib.parse import urlencode

from shared.simulator.faults import Fate
from shared.simulator.outgoing import OutgoingCall

Generation = Literal["v2", "v3", "new"]


@dataclass(frozen=True, slots=True)
class Flow:
    """A call as it was taken."""

    request_id: str
    sender: str
    reference: str
    taken: Sequence[tuple[str, Fate]]  # phones with their plus

    def key(self, variables: Mapping[str, str]) -> str:
        """Equal for copies: of what a phone would show, and the sender's own reference."""
        shown = json.dumps([self.sender, self.reference, sorted(variables.items())])
        return blake2b(shown.encode(), digest_size=8).hexdigest()


@dataclass(slots=True)
class Repeats:
    """What was taken within the last seconds."""

    _seen: set[int] = field(default_factory=set)
    _times: deque[tuple[float, int]] = field(default_factory=deque)

    def is_new(self, what: tuple[str, ...], seconds: float) -> bool:
        """Notes it, if so."""
        now = time.monotonic()
        while self._times and self._times[0][0] <= now - seconds:
            self._seen.discard(self._times.popleft()[1])
        fingerprint = hash(what)
        if fingerprint in self._seen:
            return False
        self._seen.add(fingerprint)
        self._times.append((now, fingerprint))
        return True


def webhooks(flow: Flow, url: str, generation: Generation) -> Iterator[OutgoingCall]:
    """The second generation posts a request's numbers together, the others each by itself."""
    reports = [{"number": phone[1:], **_REPORTS.get(fate, _DELIVERED)} for phone, fate in flow.taken]
    request = {"requestId": flow.request_id, "senderId": flow.sender}
    if generation == "v2":
        batch = {**request, "report": [{**report, "CRQID": flow.reference} for report in reports]}
        form = urlencode({"data": json.dumps([batch])})
        yield OutgoingCall(url, (("content-type", "application/x-www-form-urlencoded"),), form.encode())
        return
    for report in reports:
        document = {**request, "CRQID": flow.reference, **report}
        if generation == "new":
            document = {**document, "telNum": document.pop("number"), "status": document.pop("desc")}
        yield OutgoingCall(url, (("content-type", "application/json"),), json.dumps(document).encode())


_DELIVERED: Final = {"status": "1", "desc": "DELIVERED"}
_REPORTS: Final = {
    Fate.UNDELIVERED: {"status": "2", "desc": "FAILED", "failedReason": "Handset switched off"},
    Fate.OPTED_OUT: {"status": "9", "desc": "NDNC"},
}
