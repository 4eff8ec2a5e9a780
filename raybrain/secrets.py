"""Secrets: passwords and the like reach the processes that need them, and are not shown.

They are in the environment, and stay there: not in a home, a log, the process list or the runtime environment of a job, which
Ray shows to everybody who may look at the job.
"""

import os
import re
from urllib.parse import unquote

from raybrain.storage import shown, split_login

ADDRESSES = ("MLFLOW_TRACKING_URI", "RAYBRAIN_OPTUNA_STORAGE")
SECRET = re.compile(r"(PASSWORD|TOKEN|SECRET|_KEY)$")  # names of variables that hold nothing else
QUERY = re.compile(r"[?&][^?&=]*(?:password|token|secret|key)[^?&=]*=([^&]*)", re.IGNORECASE)  # of an address
SHORTEST = 4  # letters of a secret; shorter ones would be found everywhere


def hidden(text: str) -> str:
    """A text as it may be shown: without the secrets that the environment holds."""
    for name in ADDRESSES:
        if address := os.environ.get(name):
            text = text.replace(address, shown(address))
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets() -> set[str]:
    values = {value for name, value in os.environ.items() if SECRET.search(name)}
    for name in ADDRESSES:
        address = os.environ.get(name, "")
        user, _, password = credentials(address)
        token = user if address.startswith("http") else ""  # may stand where a user does; the user of a database has a name
        values.add(password or token)
        values |= set(QUERY.findall(address))
    return {form for secret in values for form in (secret, unquote(secret)) if len(form) >= SHORTEST}


def credentials(address: str) -> tuple[str, str, str]:
    """User, a colon if a password follows, and the password of an address."""
    login, _, _ = split_login(address.partition("://")[2])
    user, colon, password = login.partition(":")
    return user, colon, password
