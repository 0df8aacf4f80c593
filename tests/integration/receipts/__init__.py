"""Receipts: from the provider's call through the inbox into ledger, sums and suppressions."""
