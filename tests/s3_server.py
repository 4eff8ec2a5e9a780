"""An S3 server on this machine, for tests of a home in a bucket: one for a whole run of pytest."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.mlflow_server import free_port, wait_for_port

SECRET = "planted-key-of-s3"
LOGIN = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
# before Ray starts, as its workers have its environment
ENVIRONMENT = {**LOGIN, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{free_port()}"}


@dataclass(frozen=True)
class S3Server:
    """A server that listens on loopback at $AWS_ENDPOINT_URL_S3, and has the bucket ``lab``."""

    client: Any

    def names(self, prefix: str = "") -> list[str]:
        """The objects in the bucket."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="lab", Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def content(self, name: str) -> bytes:
        """What an object holds."""
        return bytes(self.client.get_object(Bucket="lab", Key=name)["Body"].read())


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start a server and stop it at the end."""
    import boto3

    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    with moto_server(int(endpoint.rpartition(":")[2])):
        client = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket="lab")
        yield S3Server(client)


@contextmanager
def moto_server(port: int) -> Iterator[None]:
    """An S3 server on this machine that answers."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()  # which says that it is ready before it listens
    try:
        wait_for_port(port)
        yield
    finally:
        server.stop()
