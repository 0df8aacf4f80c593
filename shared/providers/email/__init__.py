"""E-mail providers: SMTP, with an engine of our own, and the mailers that are called over HTTP."""
