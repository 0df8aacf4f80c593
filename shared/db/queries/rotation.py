"""Encrypting again what was encrypted with an older secret key, in pages, while everything runs."""

from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on
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
        .where(or_(_is_older(Provider.credentials_encrypted, box), _is_older(Provider.receipts_secret_encrypted, box)))
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


def _key_id(sealed: SQLColumnExpression[Any]) -> ColumnElement[str]:
    return func.split_part(sealed, ".", 1)


def _is_older(sealed: SQLColumnExpression[Any], box: SecretBox) -> ColumnElement[bool]:
    return _key_id(sealed) != box.newest_key_id


def _again(box: SecretBox, sealed: str, context: str) -> str:
    return box.encrypt(box.decrypt(sealed, context=context), context=context)


async def drop_older_secrets(session: AsyncSession, box: SecretBox) -> None:
    """Short-lived tokens are made anew; the word that checks the keys is encrypted again."""
    await session.execute(delete(ProviderToken).where(_is_older(ProviderToken.token_encrypted, box)))
    word = await session.scalar(select(Installation.secret_check))
    if word is not None:
        await session.execute(update(Installation).values(secret_check=_again(box, word, CHECK_CONTEXT)))


async def check_stored_secrets(session: AsyncSession, box: SecretBox) -> None:
    """Decrypt one secret of each key that any is under. Raises ConfigurationError where that fails.

    The word that checks the keys tells of one key only. A role that was not started anew before a rotation goes on
    encrypting with an older one.
    """
    contexts = {
        Provider.credentials_encrypted: credentials_context,
        Provider.receipts_secret_encrypted: receipts_context,
    }
    for sealed, context_of in contexts.items():
        key_id = _key_id(sealed)
        of_each_key = (
            select(Provider.project_seq, Provider.id, sealed)
            .where(sealed.is_not(None))
            .ext(distinct_on(key_id))
            .order_by(key_id, Provider.seq)
        )
        for project_seq, provider_id, secret in await session.execute(of_each_key):
            box.decrypt(str(secret), context=context_of(project_seq, provider_id))
