"""Buckets for large objects, made as Blueprint makes them."""

from __future__ import annotations

from draft_services.engine.connection import Login, connect
from draft_services.engine.streams import ensure, objects_config


async def keep_bucket(url: str, bucket: str, most: int, login: Login | None = None) -> None:
    """Have it be there, with at most so many bytes."""
    connection = await connect(url, name="test", login=login)
    try:
        await ensure(connection, objects_config(bucket, max_bytes=most))
    finally:
        await connection.close()
