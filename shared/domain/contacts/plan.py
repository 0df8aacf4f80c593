"""What a page of contacts creates: decided row by row, so that the result does not depend on where pages are cut."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from shared.domain.contacts.rows import Contact, Fault, excesses, told
from shared.domain.status import Channel

DERIVED_ID_BYTES = 10


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has an identifier, and as what."""

    user_id: str
    channel: Channel


@dataclass(frozen=True, slots=True)
class Existing:
    """What is known of the page's identifiers before anything is written."""

    owners: dict[str, Owner] = field(default_factory=dict)  # of those that are taken
    target_seqs: dict[str, int] = field(default_factory=dict)  # of those that are targets
    users_own: set[str] = field(default_factory=set)  # those that are the e-mail or phone of some user's own row


@dataclass(slots=True)
class PlannedUser:
    """Empty values leave alone what the user already has."""

    id: str
    name: str = ""  # the last one in the file wins, over the stored one too
    email: str = ""  # the first one in the file; fills an empty one only
    phone: str = ""  # as email


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    id: str
    user_id: str
    channel: Channel
    identifier: str


@dataclass(slots=True)
class PagePlan:
    """Everything a page writes. Users and targets are in the order of the file."""

    users: dict[str, PlannedUser] = field(default_factory=dict)  # by id
    targets: list[PlannedTarget] = field(default_factory=list)  # only those that do not exist yet
    subscriptions: dict[tuple[str, Channel, str], None] = field(default_factory=dict)  # topic id, channel, identifier
    faults: list[Fault] = field(default_factory=list)


def identifiers_of(contact: Contact) -> Iterator[tuple[Channel, str]]:
    if contact.email:
        yield Channel.EMAIL, contact.email
    if contact.phone:
        yield Channel.SMS, contact.phone
    for token in contact.push_tokens:
        yield Channel.PUSH, token


def derive_id(project_id: str, kind: str, identifier: str) -> str:
    """The same 20 hex characters for the same address of the same project, whichever file brings it."""
    digest = blake2b(f"{kind}:{identifier}".encode(), digest_size=DERIVED_ID_BYTES, key=project_id.encode())
    return digest.hexdigest()


def plan_page(
    contacts: Sequence[Contact], *, project_id: str, existing: Existing, topics: Container[str] | None
) -> PagePlan:
    """`topics`: those that rows may name; None: any.

    A faulty row claims nothing, so a later row may have its addresses.
    """
    plan = PagePlan()
    owners = dict(existing.owners)
    targets = set(existing.target_seqs)
    for contact in contacts:
        user_id = contact.user_id or _user_of(contact, owners, project_id)
        # rows that were staged before there were bounds have them all the same
        reasons = [*excesses(contact), *_conflicts(contact, user_id, owners), *_missing_topics(contact, topics)]
        if reasons:
            plan.faults.append(Fault(contact.line, told(reasons)))
            continue
        _plan_user(contact, plan.users.setdefault(user_id, PlannedUser(user_id)), existing.users_own)
        for channel, identifier in identifiers_of(contact):
            owners[identifier] = Owner(user_id, channel)
            if identifier not in targets:
                targets.add(identifier)
                target_id = derive_id(project_id, "target", identifier)
                plan.targets.append(PlannedTarget(target_id, user_id, channel, identifier))
            for topic in contact.topics:
                plan.subscriptions[topic, channel, identifier] = None
    return plan


def _user_of(contact: Contact, owners: Mapping[str, Owner], project_id: str) -> str:
    """Without a user_id a row is about whoever has its first address, else about a user named after that address."""
    _channel, identifier = next(identifiers_of(contact))
    owner = owners.get(identifier)
    return owner.user_id if owner else derive_id(project_id, "user", identifier)


def _plan_user(contact: Contact, user: PlannedUser, users_own: Container[str]) -> None:
    """A user's e-mail may be another user's target (wire contract §14), and stays with the former."""
    user.name = contact.name or user.name
    if contact.email not in users_own:
        user.email = user.email or contact.email
    if contact.phone not in users_own:
        user.phone = user.phone or contact.phone


def _conflicts(contact: Contact, user_id: str, owners: Mapping[str, Owner]) -> Iterator[str]:
    for channel, identifier in identifiers_of(contact):
        owner = owners.get(identifier)
        if owner and owner.user_id != user_id:
            yield f"{channel} {identifier!r} belongs to another user, {owner.user_id!r}."
        elif owner and owner.channel != channel:
            yield f"{channel} {identifier!r} is an address of the channel {owner.channel} already."


def _missing_topics(contact: Contact, topics: Container[str] | None) -> Iterator[str]:
    if topics is not None:
        yield from (f"The topic {topic!r} does not exist." for topic in contact.topics if topic not in topics)
