"""A service account of the testbed's own, with a real key."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from testbed.earthengine import TOKEN_PATH, Tokens

EMAIL = "worker@testbed-project.iam.gserviceaccount.com"


def service_account(path: Path, tokens: Tokens, base_url: str) -> tuple[Path, str]:
    """Write a key file that the token endpoint at `base_url` knows; (its path, its secret)."""
    key = rsa.generate_private_key(65537, 2048)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    tokens.keys[EMAIL] = public
    info = {
        "type": "service_account",
        "project_id": "testbed-project",
        "private_key_id": "1",
        "private_key": secret,
        "client_email": EMAIL,
        "client_id": "1",
        "token_uri": base_url + TOKEN_PATH,
    }
    path.write_text(json.dumps(info))
    return path, secret
