"""People who come by themselves: they sign up, log in, and subscribe with a session or a JWT."""

import pytest

from tests.sdk.sdk import UNIQUE, Refused, make
from tests.sdk.tour import Tour


def visit(tour: Tour) -> None:
    owner, visitor, email = tour.owner, tour.principal(), tour.address("joan")
    joan = visitor.account("create", userId="joan", email=email, password="engine-no-2", name="Joan")
    assert joan["targets"][0]["identifier"] == email
    login = visitor.account("createEmailPasswordSession", email=email, password="engine-no-2")
    assert (login["userId"], login["provider"], login["secret"]) == ("joan", "email", "")
    with pytest.raises(Refused) as refused:
        visitor.account("get")
    assert refused.value.refusal == (401, "general_unauthorized_scope")

    session = owner.users("createSession", userId="joan")
    by_session = tour.principal(session=session["secret"])
    assert by_session.account("get")["name"] == "Joan"
    token = owner.users("createJWT", userId="joan", sessionId=session["$id"], duration=60)["jwt"]
    owner.messaging("createTopic", topicId="members", name="Members", subscribe=[make("Role", "users")])
    subscriber = tour.principal(jwt=token).messaging(
        "createSubscriber", topicId="members", subscriberId=UNIQUE, targetId=joan["targets"][0]["$id"]
    )
    assert (subscriber["userId"], subscriber["userName"]) == ("joan", "Joan")
    by_session.messaging("deleteSubscriber", topicId="members", subscriberId=subscriber["$id"])
    assert owner.messaging("getTopic", topicId="members")["emailTotal"] == 0
    by_session.account("deleteSession", sessionId="current")
    with pytest.raises(Refused) as logged_out:
        by_session.account("get")
    assert logged_out.value.refusal == (401, "general_unauthorized_scope")
    owner.messaging("deleteTopic", topicId="members")
    owner.users("delete", userId="joan")
