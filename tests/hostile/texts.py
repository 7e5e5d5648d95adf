"""JSON that is no JSON, JSON of absurd values, and values that are nearly right, for every route that takes a body."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.hostile.pictures import digit, encoded
from tests.hostile.request import REFUSED, TAKEN_OR_REFUSED, Hostile, http

_IMAGE = base64.b64encode(encoded(digit())).decode()
_DOCUMENTED = TAKEN_OR_REFUSED | {201, 202, 404, 409, 412, 429, 507}

TARGETS: dict[str, tuple[str, str]] = {
    "/predict": ("POST", "pixels"),
    "/samples": ("POST", "label"),
    "/train": ("POST", "settings"),
    "/models/mnist/aliases/production": ("PUT", "version"),
    "/models/mnist/aliases/production/rollback": ("POST", "reason"),
    "/v2/models/mnist/infer": ("POST", "inputs"),
    "/v2/repository/index": ("POST", "ready"),
    "/v2/repository/models/mnist/load": ("POST", "parameters"),
    "/v1/models/mnist:predict": ("POST", "instances"),
    "/v1/models/mnist:classify": ("POST", "examples"),
    "/v1/models/mnist:explain": ("POST", "instances"),
}
"""By address: its method, and a member of its body."""

_NO_JSON = {
    "nothing but blanks": b"  \n\t ",
    "a brace": b"{",
    "half a member": b'{"%s"',
    "a comma too much": b'{"%s": 1,}',
    "a remark": b'{"%s": 1} // hello',
    "a mark of byte order": b'\xef\xbb\xbf{"%s": 1}',
    "UTF-16": '{"%s": 1}'.encode("utf-16"),
    "bytes": b'{"%s": "\xff\xfe\x80"}',
    "half a character": b'{"%s": "\\ud800"}',
    "half a character as a name": b'{"\\udfff": 1}',
    "an escape too short": b'{"%s": "\\u12"}',
    "a zero byte": b'{"%s": "\0"}',
    "no number": b'{"%s": NaN}',
    "no end": b'{"%s": Infinity}',
    "a number without end": b'{"%s": -1e999}',
    "a number of 5,000 digits": b'{"%s": ' + b"9" * 5000 + b"}",
    "a number that begins with 0": b'{"%s": 01}',
    "deep lists": b'{"%s": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "deep lists without end": b"[" * 60_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "single quotes": b"{'%s': 1}",
    "two bodies": b'{"%s": 1}{"%s": 1}',
    "a list": b"[]",
    "null": b"null",
    "text": b'"%s"',
    "a number": b"1e308",
}

_VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "a negative number": -1,
    "a fraction": 1.5,
    "2⁶³": 2**63,
    "2⁶⁴": 2**64,
    "1e308": 1e308,
    "text": "hello",
    "text of a path": "../../../etc/passwd",
    "text of zeros": "\0\0",
    "long text": "x" * 20_000,
    "a list of nothing": [],
    "a list of lists": [[[[[[[[[[1]]]]]]]]]],
    "a list of all kinds": [1, "a", None, {}, [], True],
    "an object of nothing": {},
    "an object of itself": {"a": {"a": {"a": {}}}},
    "many members": {f"m{number}": number for number in range(2000)},
    "a strange name": {"__proto__": 1, "\0": 2, "": 3},
}


def texts() -> Iterator[Hostile]:
    """Every bad text to every route, then what is nearly right."""
    for target, (method, member) in TARGETS.items():
        for name, text in _NO_JSON.items():
            sent = http(target, text.replace(b"%s", member.encode()), "application/json", method)
            yield Hostile(f"{method} {target}: {name}", sent, _DOCUMENTED)
        for name, value in _VALUES.items():
            sent = http(target, json.dumps({member: value}).encode(), "application/json", method)
            yield Hostile(f"{method} {target}: {member} is {name}", sent, _DOCUMENTED)
        sent = http(target, b'{"%s": 1, "%s": 2}' % (member.encode(), member.encode()), "application/json", method)
        yield Hostile(f"{method} {target}: a member twice", sent, _DOCUMENTED)
        for kind in ("text/plain", "application/xml", "application/json; charset=utf-7", "\xff", "a" * 5000, None):
            sent = http(target, b"{}", kind, method)
            yield Hostile(f"{method} {target}: as {str(kind)[:40]}", sent, _DOCUMENTED)
    yield from _pixels()
    yield from _settings()


def _pixels() -> Iterator[Hostile]:
    row = [0] * 28
    for name, text in {
        "783 pixels": json.dumps([9] * 783),
        "785 pixels": json.dumps([9] * 785),
        "27 rows": json.dumps([row] * 27),
        "a row too short": json.dumps([row] * 27 + [row[1:]]),
        "a row of a row": json.dumps([[row]] * 28),
        "a pixel of 256": json.dumps([256] + [0] * 783),
        "a pixel of −1": json.dumps([-1] + [0] * 783),
        "a pixel of 1e999": "[1e999" + ", 0" * 783 + "]",
        "a pixel of 1e308": json.dumps([1e308] + [0] * 783),
        "a pixel of 2⁶⁴": json.dumps([2**64] + [0] * 783),
        "a pixel of nothing": json.dumps([None] + [0] * 783),
        "a pixel of text": json.dumps(["1"] + [0] * 783),
        "a true pixel": json.dumps([True] + [0] * 783),
        "floats beyond 1": json.dumps([1.01] + [0] * 783),
        "pixels of NaN": "[NaN" + ", 0" * 783 + "]",
        "no ink": json.dumps([0] * 784),
        "nothing but ink": json.dumps([255] * 784),
        "a million pixels": json.dumps([1] * 1_000_000),
    }.items():
        for member, form in (("pixels", "%s"), ("instances", "[%s]")):
            body = f'{{"{member}": {form % text}}}'.encode()
            yield Hostile(f"{name} as {member}", http("/predict", body), TAKEN_OR_REFUSED)
    for name, value in {
        "no base64": "***",
        "base64 without its end": _IMAGE[:-3],
        "base64 for addresses": _IMAGE.replace("/", "_"),
        "base64 in lines": _IMAGE[:40] + "\n" + _IMAGE[40:],
        "base64 of base64": base64.b64encode(_IMAGE.encode()).decode(),
        "a data URL": "data:image/png;base64," + _IMAGE,
        "a URL": "http://169.254.169.254/",
        "text beyond ASCII": "ü" * 100,
    }.items():
        for member, given in (("image", value), ("images", [value, _IMAGE])):
            body = json.dumps({member: given}).encode()
            yield Hostile(f"{name} as {member}", http("/predict", body), TAKEN_OR_REFUSED)
    for count in (65, 5000):
        body = json.dumps({"images": [_IMAGE] * count}).encode()
        yield Hostile(f"{count} images", http("/predict", body), frozenset({413}))
    two = json.dumps({"image": _IMAGE, "pixels": [0] * 784}).encode()
    yield Hostile("two forms at once", http("/predict", two), frozenset({422}))


def _settings() -> Iterator[Hostile]:
    for settings in (
        *({"epochs": value} for value in (0, -1, 1e9, 2**70, "1", None, [1], True)),
        *({"layers": value} for value in ([], [784], [784, 10**9, 10], [784, -1, 10], [783, 10], [784, 10.5, 10], "x")),
        *({"learning_rate": value} for value in (0, -1, 1e308, "fast", None)),
        *({"batch_size": value} for value in (0, -1, 2**40, 1.5)),
        *({"data": value} for value in ("/etc", "../..", "http://localhost/", "", "\0", "s3://x")),
        *({name: "/etc/passwd"} for name in ("extra_data", "start_from", "teachers", "__class__", "data_dir", "out")),
        {"activation": "eval"},
        {"optimizer": {"name": "adam"}},
        {"seed": -1},
        {"seed": 2**64},
    ):
        body = json.dumps({"settings": settings}).encode()
        yield Hostile(f"train with {settings}"[:80], http("/train", body), REFUSED | {202, 429})
    bodies: tuple[dict[str, Any], ...] = (
        {"recipe": "../starter"},
        {"dataset": "../../etc"},
        {"model": "../x"},
        {"start_from": "99"},
        {"max_minutes": 1e308},
        {"search": {"space": {"learning_rate": []}}},
        {"search": {"space": {"learning_rate": {"low": 1, "high": -1}}, "trials": 2}},
        {"search": {"space": {f"s{number}": [1, 2] for number in range(64)}}},
        {"search": {"space": {"epochs": [1] * 10_000}}},
        {"search": {"space": {"epochs": [1]}, "trials": 2**62}},
    )
    for members in bodies:
        body = json.dumps(members).encode()
        yield Hostile(f"train with {members}"[:80], http("/train", body), REFUSED | {202, 404, 429})
