"""Encrypting again what was encrypted with an older secret key, in pages, while everything runs."""

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Installation, Provider, ProviderToken
from shared.db.queries.installation import CHECK_CONTEXT
from shared.db.queries.providers import credentials_context
from shared.db.secrets import SecretBox

PAGE = 200


async def encrypt_credentials_again(session: AsyncSession, box: SecretBox) -> int:
    """One page of providers whose credentials are not under the newest key; 0: none is left. Safe to repeat.

    Workers go on: they hold both keys, and the version stays, since what is encrypted has not changed.
    """
    statement = (
        select(Provider.seq, Provider.project_seq, Provider.id, Provider.credentials_encrypted)
        .where(Provider.credentials_encrypted.not_like(f"{box.newest_key_id}.%"))
        .order_by(Provider.seq)
        .limit(PAGE)
        .with_for_update()
    )
    rows = (await session.execute(statement)).all()
    for row in rows:
        context = credentials_context(row.project_seq, row.id)
        again = box.encrypt(box.decrypt(row.credentials_encrypted, context=context), context=context)
        await session.execute(update(Provider).where(Provider.seq == row.seq).values(credentials_encrypted=again))
    return len(rows)


async def drop_older_secrets(session: AsyncSession, box: SecretBox) -> None:
    """Short-lived tokens are made anew; the word that checks the keys is encrypted again."""
    await session.execute(delete(ProviderToken).where(ProviderToken.token_encrypted.not_like(f"{box.newest_key_id}.%")))
    word = await session.scalar(select(Installation.secret_check))
    if word is not None:
        again = box.encrypt(box.decrypt(word, context=CHECK_CONTEXT), context=CHECK_CONTEXT)
        await session.execute(update(Installation).values(secret_check=again))
