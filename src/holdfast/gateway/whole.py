"""Requests that arrive whole and are plain: the common case of a webhook, read without a parser's callbacks.

Whatever is not certainly both is None here, and goes through uvicorn's parser and ASGI, which knows all of HTTP/1.1.
Source: RFC 9112, sections 2 to 6.
"""

Headers = list[tuple[bytes, bytes]]

_LARGEST_HEAD = 16 * 1024
_UNUSUAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"content-encoding"})


def whole_request(data: bytes) -> tuple[bytes, Headers, bytes] | None:
    """The request line, the headers (names in lower case) and the body, if `data` is one plain request and no more."""
    end = data.find(b"\r\n\r\n", 0, _LARGEST_HEAD)
    if end < 0:
        return None
    head = data[:end]
    line, *fields = head.split(b"\r\n")
    if head.count(b"\n") != len(fields) or head.count(b"\r") != len(fields) or b"\0" in head:
        return None  # line ends of another kind
    headers = [_header(field) for field in fields]
    lengths = [value for name, value in headers if name == b"content-length"]
    is_plain = len(lengths) == 1 and lengths[0] == b"%d" % (len(data) - end - 4)
    return (line, headers, data[end + 4 :]) if is_plain and _NOT_PLAIN not in headers else None


_NOT_PLAIN = (b"", b"")


def _header(field: bytes) -> tuple[bytes, bytes]:
    name, colon, value = field.partition(b":")
    name, value = name.lower(), value.strip(b" \t")
    if not colon or not name.replace(b"-", b"").isalnum() or name in _UNUSUAL:
        return _NOT_PLAIN
    if name == b"connection" and value.lower() != b"keep-alive":
        return _NOT_PLAIN
    return name, value
