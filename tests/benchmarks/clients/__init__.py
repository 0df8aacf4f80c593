"""The best client libraries of each kind, as programs that send what they are told and record each outcome.

Each is given what its documentation offers for speed, and a concurrency that was among the best of a few tried. They
are spared what Tidings does besides: no targets are read, nothing is marked before it is sent or tried again.
"""
