"""Exposure: whether others who reach a Ray cluster or a tracking server may use it, too."""

import http.client
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from raybrain.cluster import Cluster, asks_for_token
from raybrain.doctor.findings import Finding
from raybrain.secrets import hidden

ANSWER_S = 5.0
CONNECT_S = 1.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
FOR_ANYBODY = "/api/2.0/mlflow/experiments/get?experiment_id=0"  # what a server without a login answers to everybody


def exposure(cluster: Cluster) -> Iterator[Finding]:
    """Look at the Ray cluster and the tracking server that are used, if they are not a command's own."""
    if address := cluster.address or os.environ.get("RAY_ADDRESS"):
        yield _ray(address)
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if cluster.tracker.name == "mlflow" and server.startswith(("http://", "https://")):
        yield _tracking(server)


def _ray(address: str) -> Finding:
    what, asks = "who may use Ray", asks_for_token(address)
    if asks is None:
        return Finding(what, "not known: the cluster does not say whether it asks for a token")
    if asks:
        return Finding(what, "whoever has its token")
    cure = "type ray get-auth-token --generate, and start Ray with RAY_AUTH_MODE=token on every node"
    return Finding(what, "everybody who reaches it, and they run what they like: it asks for no token", "warn", cure)


def _tracking(server: str) -> Finding:
    what = "who may use tracking"
    try:
        parts = urlsplit(server)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # what stands in the place of a port may be a password
        return Finding(what, "not known: MLFLOW_TRACKING_URI is no address like http://HOST:PORT")
    name = f"[{host}]" if ":" in host else host
    try:
        urllib.request.urlopen(f"{parts.scheme}://{name}:{port}{parts.path.rstrip('/')}{FOR_ANYBODY}", timeout=ANSWER_S).close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        if getattr(error, "code", None) in (401, 403):
            return Finding(what, "whoever may log in")
        return Finding(what, f"not known: it does not answer as MLflow does ({hidden(str(error))})")
    if host in LOOPBACK and not any(_listens(own, port) for own in _own_addresses()):
        return Finding(what, "everybody on this machine: it asks for no login, and listens here alone")
    cure = "have it listen at 127.0.0.1 (mlflow server --host 127.0.0.1), or ask for a login (--app-name basic-auth)"
    return Finding(what, "everybody who reaches it may change and delete results: it asks for no login", "warn", cure)


def _own_addresses() -> list[str]:
    """Of this machine, as others see it."""
    import psutil

    every = [one for some in psutil.net_if_addrs().values() for one in some if one.family == socket.AF_INET]
    return [one.address for one in every if not one.address.startswith("127.")]


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True
