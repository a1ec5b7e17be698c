"""A real S3 server for tests (moto's), with a bucket; AWS_… point to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def bucket_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the server; other S3 clients in this test reach it too."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield boto3.client("s3")
    finally:
        server.stop()


def filled(client: Any, bucket: str, objects: Mapping[str, bytes]) -> None:
    """A new bucket with these objects."""
    client.create_bucket(Bucket=bucket)
    for key, data in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=data)
