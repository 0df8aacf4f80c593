"""Path parameters, and how their things are said to be missing."""

from typing import Annotated

from fastapi import Path

from api.schemas.values import PublicId

BucketId = Annotated[PublicId, Path(alias="bucketId")]
CollectionId = Annotated[PublicId, Path(alias="collectionId")]
DatabaseId = Annotated[PublicId, Path(alias="databaseId")]
FileId = Annotated[PublicId, Path(alias="fileId")]
ImportId = Annotated[PublicId, Path(alias="importId")]
MessageId = Annotated[PublicId, Path(alias="messageId")]
ProviderId = Annotated[PublicId, Path(alias="providerId")]
SessionId = Annotated[PublicId, Path(alias="sessionId")]
SubscriberId = Annotated[PublicId, Path(alias="subscriberId")]
TargetId = Annotated[PublicId, Path(alias="targetId")]
TopicId = Annotated[PublicId, Path(alias="topicId")]
UserId = Annotated[PublicId, Path(alias="userId")]
