"""Another clock for the Python process that finds this on its path: off by SECONDS_AHEAD, in `time` and in `datetime`.

Postgres, TLS and all waiting keep the machine's own. A shim before the C library (libfaketime) would need a package
that not every machine has, and breaks `time.sleep`; a time namespace moves no wall clock.
"""

import datetime as dt
import os
import time
from typing import Any

_AHEAD = float(os.environ["SECONDS_AHEAD"])
_time, _time_ns, _gmtime, _localtime = time.time, time.time_ns, time.gmtime, time.localtime
_Moment = dt.datetime


class _LooksLikeTheOriginal(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Moment)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _Moment)


class _ShiftedMoment(_Moment, metaclass=_LooksLikeTheOriginal):
    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return _Moment(*arguments, **named)

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return _Moment.now(tz) + dt.timedelta(seconds=_AHEAD)

    @classmethod
    def utcnow(cls) -> Any:
        return _Moment.utcnow() + dt.timedelta(seconds=_AHEAD)  # the name others use


for _name in ("fromtimestamp", "utcfromtimestamp", "fromisoformat", "strptime", "combine", "today", "fromordinal"):
    setattr(_ShiftedMoment, _name, getattr(_Moment, _name))
for _name in ("min", "max", "resolution"):
    setattr(_ShiftedMoment, _name, getattr(_Moment, _name))

dt.datetime = _ShiftedMoment  # type: ignore[misc]
time.time = lambda: _time() + _AHEAD
time.time_ns = lambda: _time_ns() + int(_AHEAD * 1_000_000_000)
time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
