# SPDX-License-Identifier: Apache-2.0
"""The body of a request: unpacked, and never more than its bound, whatever it claims to be."""

from __future__ import annotations

import zlib

import falcon

from nova_diskaudit.api import errors

_CHUNK = 2**16
#: Bytes that are unpacked at a time, so that no more than this is there twice.
_STEP = 2**20
#: zlib: a gzip header is expected, with the largest window.
_GZIP = 31


def read(request: falcon.Request, most: int) -> bytes:
    """The body, at most ``most`` bytes of it when unpacked.

    :raises errors.ApiError: 411, 413, 415, or 400 for a broken gzip.
    """
    content_type = (request.content_type or "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise _unsupported("the content type has to be application/json")
    encoding = (request.get_header("Content-Encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise _unsupported("the content encoding has to be gzip, or none")
    length = request.content_length
    if length is None:
        raise errors.ApiError(411, "length-required", "The length of the body is not given")
    if length > most:
        raise _too_large(most)
    stream = request.bounded_stream
    if encoding == "identity":
        return bytes(stream.read(length))
    unpacker = zlib.decompressobj(_GZIP)
    unpacked = bytearray()
    try:
        while not unpacker.eof and (data := unpacker.unconsumed_tail or stream.read(_CHUNK)):
            unpacked += unpacker.decompress(data, min(_STEP, most + 1 - len(unpacked)))
            if len(unpacked) > most:
                raise _too_large(most)
    except zlib.error as error:
        raise errors.bad_request(f"the body is not gzip: {error}") from None
    if not unpacker.eof:
        raise errors.bad_request("the body ends too early")
    if unpacker.unused_data or stream.read(1):
        raise errors.bad_request("something follows the gzip in the body")
    return bytes(unpacked)


def _too_large(most: int) -> errors.ApiError:
    return errors.ApiError(
        413, "too-large", "The body is too large", f"at most {most} bytes, unpacked"
    )


def _unsupported(detail: str) -> errors.ApiError:
    return errors.ApiError(415, "unsupported-media-type", "Unsupported media type", detail)
