"""Encrypting again what was encrypted with an older secret key, in pages, while everything runs."""

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Installation, Provider, ProviderToken
from shared.db.queries.installation import CHECK_CONTEXT
from shared.db.queries.providers import credentials_context, receipts_context
from shared.db.secrets import SecretBox

PAGE = 200


async def encrypt_credentials_again(session: AsyncSession, box: SecretBox) -> int:
    """One page of providers whose secrets are not under the newest key; 0: none is left. Safe to repeat.

    Workers go on: they hold both keys, and the version stays, since what is encrypted has not changed.
    """
    statement = (
        select(Provider)
        .where(
            or_(
                Provider.credentials_encrypted.not_like(f"{box.newest_key_id}.%"),
                Provider.receipts_secret_encrypted.not_like(f"{box.newest_key_id}.%"),
            )
        )
        .order_by(Provider.seq)
        .limit(PAGE)
        .with_for_update()
    )
    found = (await session.scalars(statement)).all()
    for provider in found:
        context = credentials_context(provider.project_seq, provider.id)
        provider.credentials_encrypted = _again(box, provider.credentials_encrypted, context)
        if provider.receipts_secret_encrypted is not None:
            context = receipts_context(provider.project_seq, provider.id)
            provider.receipts_secret_encrypted = _again(box, provider.receipts_secret_encrypted, context)
    return len(found)


def _again(box: SecretBox, sealed: str, context: str) -> str:
    return box.encrypt(box.decrypt(sealed, context=context), context=context)


async def drop_older_secrets(session: AsyncSession, box: SecretBox) -> None:
    """Short-lived tokens are made anew; the word that checks the keys is encrypted again."""
    await session.execute(delete(ProviderToken).where(ProviderToken.token_encrypted.not_like(f"{box.newest_key_id}.%")))
    word = await session.scalar(select(Installation.secret_check))
    if word is not None:
        await session.execute(update(Installation).values(secret_check=_again(box, word, CHECK_CONTEXT)))
