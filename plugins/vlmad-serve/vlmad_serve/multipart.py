"""``multipart/form-data`` that is in memory already, taken apart; nothing is written to a temporary file."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from vlmad_serve.refusal import Refusal

__all__ = ["Part", "parse_multipart"]

_MOST_HEADERS = 8_192


@dataclass
class Part:
    """A field of a form.

    Attributes:
        name: Of the field.
        filename: As the client gave it; None for a field that is no file.
        data: Its content.
    """

    name: str = ""
    filename: str | None = None
    data: bytes = b""
    _pieces: list[bytes] = field(default_factory=list)


def parse_multipart(body: bytes, content_type: str, *, max_parts: int) -> list[Part]:
    """The parts of a form, in order.

    Args:
        body: All of it.
        content_type: The header, with the boundary.
        max_parts: More are refused.

    Raises:
        Refusal: 400; it is not such a form, is cut short, or a part has no name. 413; too many parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary or len(boundary) > 200:
        raise Refusal(400, "the header Content-Type has no boundary for multipart/form-data.")
    reader = _Reader(max_parts)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.begin,
                "on_part_data": reader.take_data,
                "on_part_end": reader.finish,
                "on_header_field": reader.take_header_name,
                "on_header_value": reader.take_header_value,
                "on_header_end": reader.end_header,
                "on_headers_finished": reader.end_headers,
                "on_end": reader.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Refusal(400, f"the body is not a whole multipart/form-data ({error}).") from error
    if not reader.is_whole:
        raise Refusal(400, "the body is not a whole multipart/form-data; it was cut short.")
    return reader.parts


class _Reader:
    """Collects what the parser reports."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[Part] = []
        self.is_whole = False
        self._max = max_parts
        self._part, self._name, self._value = Part(), b"", b""
        self._headers: dict[bytes, bytes] = {}

    def begin(self) -> None:
        if len(self.parts) >= self._max:
            raise Refusal(413, f"the form has more than {self._max} parts; send several requests.")
        self._part, self._headers = Part(), {}

    def take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._check(self._name)

    def take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check(self._value)

    def _check(self, text: bytes) -> None:
        if len(text) > _MOST_HEADERS or len(self._headers) > 20:
            raise Refusal(400, "a part of the form has too long or too many headers.")

    def end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def end_headers(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition", b""))[1]
        if not options.get(b"name"):
            raise Refusal(400, "a part of the form has no name.")
        self._part.name = options[b"name"].decode("utf-8", "replace")
        if b"filename" in options:
            self._part.filename = options[b"filename"].decode("utf-8", "replace")

    def take_data(self, data: bytes, start: int, end: int) -> None:
        self._part._pieces.append(data[start:end])

    def finish(self) -> None:
        self._part.data = b"".join(self._part._pieces)
        self._part._pieces.clear()
        self.parts.append(self._part)

    def end(self) -> None:
        self.is_whole = True
