# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looks like a secret in plain text, by the name of its key or by its form."""

from __future__ import annotations

import re

from . import values
from .values import Value

# The last words of a key: DB_PASSWORD holds one, PASSWORD_MIN_LENGTH and TOKEN_URL do not.
_KEY = re.compile(
    r"(?:^|[_.-])(?:PASSWORD|PASSWD|PASSPHRASE|PASS|SECRET|TOKEN|CREDENTIALS?"
    r"|(?:API|SECRET|PRIVATE|ACCESS|SIGNING|ENCRYPTION|AUTH|MASTER)[_.-]?KEY)[0-9]*$"
)
_URL = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[^/\s:@\0]{0,200}:[^/\s@\0]{1,200}@", re.IGNORECASE)


def looks_secret(key: str, value: Value) -> bool:
    """Whether a key that is called like a secret holds one, or a URL a password. A path or a truth value is none."""
    text = _literal(value)
    if values.secrets_in(value) or not text.strip():
        return False
    if _URL.search(text):
        return True
    plain = text.strip().lower() in ("true", "false", "yes", "no", "none") or text.startswith(("/", "./", "\0/"))
    return bool(_KEY.search(key.upper())) and not plain and bool(text.strip("\0 "))


def _literal(value: Value) -> str:
    """The texts of a value, with NUL for what is known later; a default is a text too."""
    return "".join(
        part if isinstance(part, str) else _literal(part["default"]) if "default" in part else "\0"
        for part in values.parts(value)
    )
