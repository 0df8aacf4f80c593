"""The providers' other side on loopback: wire servers, a record of what they accepted, an inbox, fault profiles."""
