"""A campaign through each provider, against its simulator, receipts included."""
