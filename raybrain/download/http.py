"""HTTP: sessions that try again, and answers that are data or one clear line. No credential and no query gets into a line."""

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from raybrain import __version__
from raybrain.config import InputError

if TYPE_CHECKING:
    import requests

TIMEOUT_S = (10.0, 60.0)  # to connect, and between two pieces of an answer
TRIES = 5
BACKOFF_S = 0.5
BUSY = (429, 500, 502, 503, 504)
PATIENCE_S = 60  # a busy host may ask for an hour
METHODS = ("GET", "HEAD", "POST", "PROPFIND")


class Unreachable(InputError):
    """A host does not answer, or not as a working one would: another may."""


def open_session(auth: Any = None) -> "requests.Session":
    """A session that asks again when a host is busy or does not answer.

    Args:
        auth: credentials, as requests takes them. They are not sent on when a host points to another one.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it tells of every new attempt, with the whole url
    session = requests.Session()
    session.auth = auth
    session.headers["User-Agent"] = f"raybrain/{__version__}"
    again = Retry(
        total=TRIES,
        connect=2,
        backoff_factor=BACKOFF_S,
        status_forcelist=BUSY,
        allowed_methods=METHODS,
        raise_on_status=False,
        retry_after_max=PATIENCE_S,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again, pool_maxsize=32))
    return session


class Refused(Unreachable):
    """A host does not let us in."""


class Bearer:
    """A token, shown to one domain and to no other host a session may be sent to."""

    def __init__(self, token: str, domain: str) -> None:
        self.token, self.domain = token, domain

    def __call__(self, request: Any) -> Any:
        """Add the token, as requests wants it."""
        host = urlsplit(request.url).hostname or ""
        if host == self.domain or host.endswith(f".{self.domain}"):
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def ask(session: "requests.Session", method: str, url: str, *, login: str = "", **options: Any) -> "requests.Response":
    """The answer to a request.

    Args:
        session: from ``open_session``, or a host's.
        method: as "GET".
        url: of what.
        login: what lets one in, for the message if the host does not.
        options: as requests takes them; and ``accepted``, states that are no failure.

    Raises:
        Unreachable: if there is none, or the host lets nobody in like that.
        InputError: if the host refuses.
    """
    import requests

    accepted = options.pop("accepted", ())
    try:
        response = session.request(method, url, timeout=TIMEOUT_S, **options)
    except requests.RequestException as error:
        raise Unreachable(f"{shown(url)} does not answer ({reason(error)})") from None
    if response.ok or response.status_code in accepted:
        return response
    response.close()
    code = response.status_code
    if code in (401, 403):
        raise Refused(f"{shown(url)} wants credentials, or others than it got ({code}){login and f'; {login}'}")
    if code in BUSY:
        often = f"; {login}" if code == 429 and login else ""
        raise Unreachable(f"{shown(url)} answers {code} {response.reason}{often}")
    raise InputError(f"{shown(url)} answers {code} {response.reason}")


def shown(url: str) -> str:
    """A url without what may be secret in it: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{(parts.hostname or '') + (f':{parts.port}' if parts.port else '')}{parts.path}"


def reason(error: BaseException) -> str:
    """Why a request failed, in a few words: the system's own if it said something."""
    import requests
    from urllib3.exceptions import TimeoutError

    if isinstance(error, requests.Timeout | TimeoutError):
        return "it took too long"
    seen: list[Any] = [error]
    for item in seen:
        if isinstance(item, OSError) and item.strerror:
            return str(item.strerror)
        inner = (getattr(item, "reason", None), item.__cause__, item.__context__, *item.args)
        seen += [found for found in inner if isinstance(found, BaseException) and found not in seen]
    return type(error).__name__
