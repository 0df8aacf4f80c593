"""Path parameters, and how their things are said to be missing."""

from typing import Annotated

from fastapi import Path

from api.schemas.values import PublicId

ImportId = Annotated[PublicId, Path(alias="importId")]
MessageId = Annotated[PublicId, Path(alias="messageId")]
ProviderId = Annotated[PublicId, Path(alias="providerId")]
SubscriberId = Annotated[PublicId, Path(alias="subscriberId")]
TargetId = Annotated[PublicId, Path(alias="targetId")]
TopicId = Annotated[PublicId, Path(alias="topicId")]
UserId = Annotated[PublicId, Path(alias="userId")]
