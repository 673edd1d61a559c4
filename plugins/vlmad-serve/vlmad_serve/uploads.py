"""Bodies of requests: received with limits on bytes, time and memory, then taken apart into images and fields."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from vlmad_serve.decoding import Received
from vlmad_serve.multipart import Part, parse_multipart
from vlmad_serve.names import display_name
from vlmad_serve.refusal import Refusal
from vlmad_serve.settings import ServerSettings

__all__ = ["Form", "Uploads"]

_FIELDS = 10_000
"""Longest text of a field that is no file, in bytes."""


@dataclass(frozen=True)
class Form:
    """What a request holds.

    Attributes:
        files: Images by the name of their field, in order.
        fields: Texts by name; all values of a field that is there several times.
    """

    files: Mapping[str, list[Received]]
    fields: Mapping[str, list[str]]

    def text(self, name: str, default: str = "") -> str:
        """The first value of a field."""
        return self.fields.get(name, [default])[0]


class Uploads:
    """Receives bodies; the memory that all of them take together is bounded.

    Args:
        settings: Limits.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._n_bytes = 0

    @contextmanager
    def memory(self) -> Iterator[list[int]]:
        """Holds what a request takes until the ``with`` ends; the one number in the list is its bytes."""
        held = [0]
        try:
            yield held
        finally:
            self._n_bytes -= held[0]

    async def read(self, request: Request, held: list[int]) -> bytes:
        """The body of a request.

        Args:
            request: Its body was not read yet.
            held: From :meth:`memory`.

        Raises:
            Refusal: 413; too large. 408; the client is too slow. 429; other requests take the memory. 400; cut short.
        """
        limit = self._settings.max_request_bytes
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise Refusal(413, f"the request has {int(length):,} bytes, more than the limit of {limit:,}.")
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                async for piece in request.stream():
                    held[0] += len(piece)
                    self._n_bytes += len(piece)
                    if held[0] > limit:
                        raise Refusal(413, f"the request has more bytes than the limit of {limit:,}.")
                    if self._n_bytes > self._settings.max_upload_bytes:
                        raise Refusal(429, "other requests take the memory for uploads; send it again.", retry_after=2)
                    pieces.append(piece)
        except TimeoutError as error:
            raise Refusal(
                408, f"the request did not arrive within {self._settings.body_timeout:g} seconds; send it faster."
            ) from error
        except ClientDisconnect as error:
            raise Refusal(400, "the client went away before the request was whole.") from error
        return b"".join(pieces)

    async def images(self, request: Request, held: list[int], *, file_field: str) -> Form:
        """A form with files, or one image as the raw body, which counts as ``file_field``.

        Raises:
            Refusal: As :meth:`read`; 415; another content type. 422; a field of another kind than expected.
        """
        content_type = request.headers.get("content-type", "")
        kind = content_type.partition(";")[0].strip().lower()
        if not (kind.startswith("image/") or kind in ("application/octet-stream", "multipart/form-data")):
            raise Refusal(
                415,
                "send one image as the body with Content-Type image/jpeg, image/png or application/octet-stream, or "
                f"several as multipart/form-data in the field '{file_field}'.",
            )
        body = await self.read(request, held)
        if kind != "multipart/form-data":
            name = display_name(request.query_params.get("name"))
            return Form({file_field: [Received(name, body)]}, {})
        most = self._settings.max_files + 50
        parts = await asyncio.to_thread(parse_multipart, body, content_type, max_parts=most)
        return self._form(parts)

    def _form(self, parts: list[Part]) -> Form:
        files: dict[str, list[Received]] = {}
        fields: dict[str, list[str]] = {}
        for part in parts:
            if part.filename is not None:
                files.setdefault(part.name, []).append(Received(display_name(part.filename), part.data))
            elif len(part.data) > _FIELDS:
                raise Refusal(422, f"the field '{part.name[:100]}' is longer than {_FIELDS} bytes; is it a file?")
            else:
                try:
                    fields.setdefault(part.name, []).append(part.data.decode("utf-8"))
                except UnicodeDecodeError as error:
                    raise Refusal(422, f"the field '{part.name[:100]}' is not UTF-8 text.") from error
        count = sum(map(len, files.values()))
        if count > self._settings.max_files:
            raise Refusal(413, f"the form has {count} files, more than the limit of {self._settings.max_files}.")
        return Form(files, fields)
