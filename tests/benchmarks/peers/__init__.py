"""The same work done with Celery the usual way, and the usual way tuned: what Tidings is measured against.

Both start a task per recipient and commit once per recipient. They are spared what Tidings does besides: no OAuth, no
reading of targets (the address travels in the task), no retries, no lease, no sums, nothing told about a failure.
"""
