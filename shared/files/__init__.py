"""What stored files hold: in Postgres, or in S3-compatible storage; above shared.db, which has their rows."""
