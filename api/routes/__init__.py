"""Every endpoint, one file per part of the contract."""

from api.routes import (
    account,
    contact_imports,
    databases,
    health,
    logs,
    messages,
    progress,
    providers,
    receipts,
    storage,
    subscribers,
    suppressions,
    targets,
    topics,
    users,
)

ALL_ROUTES = (
    # paths are tried in this order, so what is called most comes first
    messages.routes,
    progress.routes,
    targets.routes,
    users.routes,
    subscribers.routes,
    topics.routes,
    providers.routes,
    receipts.routes,
    suppressions.routes,
    logs.routes,
    contact_imports.routes,
    storage.routes,
    databases.routes,
    account.routes,
    health.routes,
)
