"""HTTP: sessions that retry, and errors in one line that never contain credentials or a query string."""

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from raybrain import __version__
from raybrain.config import InputError
from raybrain.storage import shown

if TYPE_CHECKING:
    import requests

TIMEOUT_S = (10.0, 60.0)  # to connect, and between two chunks of a response
TRIES = 5
BACKOFF_S = 0.5
BUSY = (429, 500, 502, 503, 504)
PATIENCE_S = 60  # the longest wait that a busy host may ask for
METHODS = ("GET", "HEAD", "POST", "PROPFIND")


class Unreachable(InputError):
    """A host does not answer, or is not working; another one may be."""


def open_session(auth: Any = None) -> "requests.Session":
    """A session that retries when a host is busy or does not answer.

    Args:
        auth: credentials, as requests takes them. They are not passed on when a host redirects to another one.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it logs every retry, with the whole URL
    session = requests.Session()
    session.auth = auth
    session.headers["User-Agent"] = f"raybrain/{__version__}"
    retry = Retry(
        total=TRIES,
        connect=2,
        backoff_factor=BACKOFF_S,
        status_forcelist=BUSY,
        allowed_methods=METHODS,
        raise_on_status=False,
        retry_after_max=PATIENCE_S,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=32))
    return session


class Refused(Unreachable):
    """A host refuses access."""


class Bearer:
    """A bearer token that is sent to one domain only, wherever a session is redirected."""

    def __init__(self, token: str, domain: str) -> None:
        self.token, self.domain = token, domain

    def __call__(self, request: Any) -> Any:
        """Add the token to a request; called by requests."""
        host = urlsplit(request.url).hostname or ""
        if host == self.domain or host.endswith(f".{self.domain}"):
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def request(session: "requests.Session", method: str, url: str, *, login: str = "", **options: Any) -> "requests.Response":
    """Send a request and return the response.

    Args:
        session: from ``open_session`` or ``Host.session``.
        method: such as "GET".
        url: the address.
        login: how to get access, for the error message if the host refuses it.
        options: as requests takes them; and ``accepted``, error codes that are returned rather than raised.

    Raises:
        Unreachable: if the host does not answer, is busy, or requires other credentials.
        InputError: if the host answers with another error.
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
        raise Refused(f"{shown(url)} refuses access ({code}){login and f'; {login}'}")
    if code in BUSY:
        hint = f"; {login}" if code == 429 and login else ""
        raise Unreachable(f"{shown(url)} answers {code} {response.reason}{hint}")
    raise InputError(f"{shown(url)} answers {code} {response.reason}")


def reason(error: BaseException) -> str:
    """Why a request failed, in a few words: those of the operating system if there are any."""
    import requests
    from urllib3.exceptions import TimeoutError

    if isinstance(error, requests.Timeout | TimeoutError):
        return "it took too long"
    errors: list[Any] = [error]
    for item in errors:
        if isinstance(item, OSError) and item.strerror:
            return str(item.strerror)
        inner = (getattr(item, "reason", None), item.__cause__, item.__context__, *item.args)
        errors += [cause for cause in inner if isinstance(cause, BaseException) and cause not in errors]
    return type(error).__name__
