"""A real S3 API on this machine: moto's server, with a bucket for a test. Drivers find it as they do for an operator, by the environment."""

from __future__ import annotations

import logging
from typing import Any
from uuid import uuid4

import boto3
from moto.server import ThreadedMotoServer

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


class Endpoint:
    """Stopped and started again it has the same address and content."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._port = 0
        self._server: ThreadedMotoServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        if self._server is None:
            self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
            self._server.start()
            _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


class Bucket:
    """A bucket of its own; `url` names a prefix in it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.name = f"bucket-{uuid4().hex[:12]}"
        self.url = f"s3://{self.name}/a/prefix"
        self._client: Any = boto3.client("s3", endpoint_url=endpoint.url)
        self._client.create_bucket(Bucket=self.name)

    def names(self) -> list[str]:
        """Of all objects, below the prefix or not."""
        found = self._client.list_objects_v2(Bucket=self.name)
        return sorted(item["Key"] for item in found.get("Contents", ()))

    def uploads(self) -> list[object]:
        """Multipart uploads that are under way, or were left."""
        return list(self._client.list_multipart_uploads(Bucket=self.name).get("Uploads", ()))

    def put(self, name: str, body: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=name, Body=body)
