"""Accounts at the providers, by the words of the API: complete, and worth nothing."""

from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.benchmarks.peers.content import SENDER

Account = dict[str, object]


def fcm(origin: str) -> Account:
    return {
        "serviceAccountJSON": {
            "type": "service_account",
            "project_id": "bench",
            "private_key_id": "1",
            "private_key": _pem(_rsa_key()),
            "client_email": "bench@bench.iam.gserviceaccount.com",
            "token_uri": f"{origin}/token",
        }
    }


def apns() -> Account:
    return {
        "authKey": _pem(_elliptic_key()),
        "authKeyId": "ABC123DEFG",
        "teamId": "DEF123GHIJ",
        "bundleId": "example.tidings.app",
    }


def smtp(port: int) -> Account:
    return {"host": "127.0.0.1", "port": port, "encryption": "none", "autoTLS": False, "fromEmail": SENDER}


def mailer(**credentials: str | bool) -> Account:
    return {**credentials, "fromEmail": SENDER}


def texter(**credentials: str) -> Account:
    return {**credentials, "from": "+12065550100"}


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@lru_cache(maxsize=1)
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@lru_cache(maxsize=1)
def _elliptic_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
