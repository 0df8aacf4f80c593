"""Campaigns without trouble: everybody gets it once, and the books agree."""

from tests.flow.deliver.conftest import Desk


def test_a_mail_campaign_reaches_everybody_once(desk: Desk) -> None:
    readers = desk.people(150, channel="email")

    run = desk.send(readers, channel="email")
    verdict = desk.finish(run)

    assert (verdict.planned, verdict.sent, verdict.copies, verdict.resends) == (150, 150, 0, 0)
    assert desk.message(run) == ("sent", [])
    mails = desk.captured(readers)
    assert {mail["title"] for mail in mails} == {"Hello"}
    assert {mail["delivery"].partition("-")[0] for mail in mails} == {str(run)}


def test_who_is_in_two_topics_gets_one_push(desk: Desk) -> None:
    news, offers = desk.people(40, channel="push"), desk.people(20, channel="push")
    desk.do(
        "INSERT INTO subscribers (project_seq, id, topic_seq, target_seq, channel)"
        " SELECT targets.project_seq, 'both-' || targets.seq, topics.seq, targets.seq, 'push'"
        " FROM targets JOIN topics ON topics.id = %s WHERE targets.id LIKE %s",
        offers,
        f"{news}-%1",
    )

    verdict = desk.finish(desk.send(news, offers, channel="push"))

    assert (verdict.planned, verdict.sent, verdict.copies) == (60, 60, 0)


def test_copied_people_get_a_mail_of_their_own_once(desk: Desk) -> None:
    readers, copied = desk.people(3, channel="email"), desk.people(4, channel="email", word="copied")
    data: dict[str, object] = {
        "subject": "Minutes",
        "content": "As agreed.",
        "html": False,
        "cc": [f"{copied}-1", f"{copied}-2", f"{readers}-1"],
        "bcc": [f"{copied}-3", f"{copied}-2"],
        "attachments": [],
    }

    run = desk.send(readers, channel="email", data=data)
    verdict = desk.finish(run)

    assert (verdict.planned, verdict.sent, verdict.copies) == (6, 6, 0)
    assert desk.copies(copied) == {f"{copied}{n}@example.com": 1 for n in (1, 2, 3)}
    assert desk.copies(readers) == {f"{readers}{n}@example.com": 1 for n in (1, 2, 3)}
