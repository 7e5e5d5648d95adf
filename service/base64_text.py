"""Base64 as browsers and command lines write it."""

import base64
import binascii
import re
import string

_DATA_URL = re.compile(rb"\s*data:[^,]{0,200};base64,", re.IGNORECASE)
_WHITE_SPACE = b" \t\r\n\f"
_ALPHABET = (string.ascii_letters + string.digits + "+/").encode()
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def decode_base64(text: str | bytes) -> bytes:
    """Decode base64 text (RFC 4648), in the standard or the URL-safe alphabet.

    A prefix `data:…;base64,` (RFC 2397, as `canvas.toDataURL` writes it) and white space are passed over, padding may
    be absent. Raises ValueError with a sentence for the caller.
    """
    try:
        content = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise ValueError("is not base64 text: it has characters beyond ASCII") from None
    if prefix := _DATA_URL.match(content):
        content = content[prefix.end() :]
    elif content.lstrip()[:5].lower() == b"data:":
        raise ValueError("is a data: URL that is not in base64: it must begin with data:…;base64,")
    content = content.translate(_URL_SAFE, _WHITE_SPACE).rstrip(b"=")
    try:
        return base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except binascii.Error:
        reason = "it has characters of another kind" if content.translate(None, _ALPHABET) else "it was cut short"
        raise ValueError(f"is not base64 text: {reason}") from None
