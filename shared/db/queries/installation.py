"""The installation's own row: whether it sends for real, and whether this process holds its secret keys."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Installation
from shared.db.secrets import SecretBox

CHECK_WORD = "tidings"
CHECK_CONTEXT = "installation/secret_check"


async def is_live(session: AsyncSession) -> bool:
    return bool(await session.scalar(select(Installation.live)))


async def set_live(session: AsyncSession, *, live: bool) -> None:
    await session.execute(update(Installation).values(live=live))


async def store_secret_check(session: AsyncSession, box: SecretBox) -> None:
    """Leave a known word encrypted with the newest key, unless there is one that stands already."""
    word = box.encrypt(CHECK_WORD, context=CHECK_CONTEXT)
    await session.execute(update(Installation).where(Installation.secret_check.is_(None)).values(secret_check=word))


async def check_secret_keys(session: AsyncSession, box: SecretBox) -> bool:
    """Whether the known word is there and can be decrypted; False when none was stored yet.

    Raises ConfigurationError when this process holds other keys than those the installation was made with.
    """
    word = await session.scalar(select(Installation.secret_check))
    if word is None:
        return False
    box.decrypt(word, context=CHECK_CONTEXT)
    return True
