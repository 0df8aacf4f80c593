"""Postgres, the truth: tables, migrations, and one function per question asked of them."""
