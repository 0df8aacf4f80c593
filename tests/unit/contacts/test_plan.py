"""What rows create: who gets an address, what a bad row leaves behind, and that page boundaries do not show."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.contacts.plan import Existing, Owner, PagePlan, derive_id, plan_page
from shared.domain.contacts.rows import Contact
from shared.domain.status import Channel

PROJECT = "acme"


def contact(line: int, user_id: str = "", **values: object) -> Contact:
    return replace(Contact(line, user_id, "", "", "", (), ()), **values)  # type: ignore[arg-type]


def plan(*contacts: Contact, existing: Existing | None = None, topics: set[str] | None = None) -> PagePlan:
    return plan_page(contacts, project_id=PROJECT, existing=existing or Existing(), topics=topics)


def test_every_address_becomes_a_target_subscribed_to_every_topic() -> None:
    planned = plan(contact(2, "u1", email="a@x.de", phone="+491", push_tokens=("t1", "t2"), topics=("news", "sport")))
    assert [(target.user_id, target.channel, target.identifier) for target in planned.targets] == [
        ("u1", Channel.EMAIL, "a@x.de"),
        ("u1", Channel.SMS, "+491"),
        ("u1", Channel.PUSH, "t1"),
        ("u1", Channel.PUSH, "t2"),
    ]
    assert len(planned.subscriptions) == 4 * 2


def test_rows_of_one_user_are_put_together() -> None:
    planned = plan(
        contact(2, "u1", name="Anna", email="a@x.de", push_tokens=("t1",)),
        contact(3, "u1", name="Anna Smith", email="b@x.de", push_tokens=("t1", "t2")),
    )
    (user,) = planned.users.values()
    assert (user.name, user.email) == ("Anna Smith", "a@x.de")
    assert [target.identifier for target in planned.targets] == ["a@x.de", "t1", "b@x.de", "t2"]


def test_without_user_id_a_row_names_a_user_after_its_first_address() -> None:
    planned = plan(contact(2, email="a@x.de", phone="+491"))
    assert list(planned.users) == [derive_id(PROJECT, "user", "a@x.de")]
    assert derive_id(PROJECT, "user", "a@x.de") != derive_id("other", "user", "a@x.de")


def test_without_user_id_a_row_is_about_whoever_has_its_first_address() -> None:
    existing = Existing(owners={"a@x.de": Owner("anna", Channel.EMAIL)}, target_seqs={"a@x.de": 1})
    planned = plan(contact(2, email="a@x.de", phone="+491"), existing=existing)
    assert [(target.user_id, target.identifier) for target in planned.targets] == [("anna", "+491")]


def test_an_address_of_another_user_is_a_bad_row() -> None:
    existing = Existing(owners={"a@x.de": Owner("anna", Channel.EMAIL)}, target_seqs={"a@x.de": 1})
    planned = plan(contact(2, "bob", email="a@x.de", push_tokens=("t1",)), existing=existing)
    assert (planned.users, planned.targets) == ({}, [])
    assert "belongs to another user, 'anna'" in planned.faults[0].reason


def test_a_bad_row_claims_nothing() -> None:
    planned = plan(
        contact(2, "anna", email="a@x.de"),
        contact(3, "bob", email="a@x.de", push_tokens=("t1",)),
        contact(4, "carl", push_tokens=("t1",)),
    )
    assert [fault.line for fault in planned.faults] == [3]
    assert [(target.user_id, target.identifier) for target in planned.targets] == [("anna", "a@x.de"), ("carl", "t1")]


def test_an_address_has_one_channel() -> None:
    planned = plan(contact(2, "anna", push_tokens=("a@x.de",)), contact(3, "anna", email="a@x.de"))
    assert [fault.line for fault in planned.faults] == [3]


def test_an_address_of_a_users_own_row_without_a_target_gets_one() -> None:
    existing = Existing(owners={"a@x.de": Owner("anna", Channel.EMAIL)}, users_own={"a@x.de"})
    planned = plan(contact(2, "anna", email="a@x.de"), existing=existing)
    assert [target.identifier for target in planned.targets] == ["a@x.de"]
    assert planned.users["anna"].email == ""  # it has it already


def test_unknown_topics_may_be_refused() -> None:
    planned = plan(
        contact(2, "u1", email="a@x.de", topics=("news", "sport")),
        contact(3, "u2", email="b@x.de", topics=("news",)),
        topics={"news"},
    )
    assert [(fault.line, fault.reason) for fault in planned.faults] == [(2, "The topic 'sport' does not exist.")]
    assert list(planned.users) == ["u2"]


_identifiers = st.sampled_from(["a", "b", "c", "d"])
_contacts = st.lists(
    st.tuples(st.sampled_from(["", "u1", "u2", "u3"]), _identifiers | st.just(""), st.lists(_identifiers, max_size=2))
)


@given(rows=_contacts, cuts=st.sets(st.integers(0, 10)))
def test_where_pages_are_cut_does_not_show(rows: list[tuple[str, str, list[str]]], cuts: set[int]) -> None:
    contacts = [
        contact(line, user_id, email=email and f"{email}@x.de", push_tokens=tuple(dict.fromkeys(tokens)), topics=("t",))
        for line, (user_id, email, tokens) in enumerate(rows, start=2)
        if user_id or email or tokens
    ]
    whole = plan(*contacts)

    existing, faults, targets = Existing(), [], []
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(contacts)), len(contacts)]
    for start, end in pairwise(edges):
        page = plan(*contacts[start:end], existing=existing)
        faults += page.faults
        targets += page.targets
        for target in page.targets:
            existing.owners[target.identifier] = Owner(target.user_id, target.channel)
            existing.target_seqs[target.identifier] = len(existing.target_seqs) + 1

    assert faults == whole.faults
    assert targets == whole.targets


def test_a_row_that_was_staged_before_there_were_bounds_is_a_bad_row() -> None:
    planned = plan(
        contact(2, push_tokens=tuple(f"t{n}" for n in range(2_000)), topics=tuple(f"n{n}" for n in range(3_000))),
        contact(3, email="a@x.de", topics=("news",)),
    )
    assert [fault.line for fault in planned.faults] == [2]
    assert list(planned.subscriptions) == [("news", Channel.EMAIL, "a@x.de")]
