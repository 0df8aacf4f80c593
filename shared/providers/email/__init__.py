"""E-mail providers: SMTP, with an engine of our own."""
