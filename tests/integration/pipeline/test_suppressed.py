"""Nothing is sent to a suppressed address, and what a provider calls dead is suppressed."""

from shared.domain.outcome import Accepted, DeadAddress, Outcome
from shared.providers.contract import SendRequest
from tests.integration.pipeline.conftest import Bench
from tests.integration.pipeline.worker import Provider, working

QUEUE = "email.smtp.bulk"


def bury_the_second(request: SendRequest) -> Outcome:
    return DeadAddress("550 5.1.1") if request.identifier.startswith("person2@") else Accepted("id")


async def send_to_all(bench: Bench, provider: Provider, message_id: str) -> int:
    run = bench.factory.message(message_id, channel="email", topics=["news"])
    await bench.plan()
    async with working(bench, provider) as worker:
        await worker.deliver_due(queue=QUEUE)
    return run


async def test_a_dead_address_is_not_tried_again(bench: Bench) -> None:
    provider = Provider(answer=bury_the_second)
    provider.may_answer.set()
    bench.factory.provider("smtp", "mail", credentials={})
    bench.factory.audience(3, channel="email")
    bench.factory.subscribe(bench.factory.topic("news"))

    first = await send_to_all(bench, provider, "first")
    bench.do("UPDATE targets SET identifier = initcap(identifier)")  # an address is one in any letters
    second = await send_to_all(bench, provider, "second")

    assert bench.states(first) == {"sent": 2, "failed": 1}
    assert bench.states(second) == {"sent": 2, "skipped": 1}
    assert bench.status(second) == "sent"
    assert bench.ask("SELECT cause, reason FROM suppressions") == [("dead_address", "550 5.1.1")]
    assert bench.ask("SELECT reason FROM deliveries WHERE state = 'skipped'") == [
        ("the address is suppressed: dead_address",)
    ]
    assert bench.ask("SELECT count(*) FROM targets WHERE expired") == [(0,)]
