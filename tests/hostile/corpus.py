"""All named hostile inputs, and any number of mutated ones."""

import random
from collections.abc import Iterator, Sequence
from functools import cache

from tests.hostile.forms import form as form_of
from tests.hostile.forms import forms, part
from tests.hostile.more_pictures import more_pictures
from tests.hostile.pictures import digit, encoded, no_images, pngs
from tests.hostile.request import CLOSED, TAKEN_OR_REFUSED, Hostile, http
from tests.hostile.tensors import tensors
from tests.hostile.texts import texts
from tests.hostile.wires import wires

_ANY = frozenset({*range(200, 432), 507, CLOSED})
_WRITTEN = b'0123456789-+.eE{}[]",:\\ \0\r\n\xff\xfe%&=;/ABCxyz'


@cache
def named() -> tuple[Hostile, ...]:
    """List them; each has a name of its own."""
    pictures = [*pngs(), *more_pictures(), *no_images()]
    inputs = [Hostile(name, http("/predict", content, "image/png"), TAKEN_OR_REFUSED) for name, content in pictures]
    return (*inputs, *forms(), *texts(), *tensors(), *wires())


def mutated(count: int, seed: int = 0) -> Iterator[Hostile]:
    """Change good requests a little: most in the body alone, so that it is read, some anywhere."""
    random_ = random.Random(seed)
    good, nearly = _good(), _nearly_good()
    for number in range(count):
        target, kind, method, body = random_.choice(good if number % 4 else nearly)
        changed = _mutate(body, random_)
        sent = http(target, changed, kind, method)
        if is_wire := number % 10 == 0:
            sent = _mutate(http(target, body, kind, method), random_)
        yield Hostile(f"mutant {number} of {method} {target}", sent, _ANY, waits=is_wire)


def _good() -> Sequence[tuple[str, str | None, str, bytes]]:
    picture = digit("RGB", (40, 40))
    images = [encoded(picture, kind) for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP")]
    images += [encoded(digit()), encoded(digit("RGBA"), "WEBP", lossless=True), encoded(digit("P"), "PNG")]
    found: list[tuple[str, str | None, str, bytes]] = [("/predict", "image/png", "POST", image) for image in images]
    found += [("/predict", "multipart/form-data; boundary=b", "POST", form_of(*[part()] * count)) for count in (1, 2)]
    found += [
        ("/v2/models/mnist/infer", "application/json", "POST", _V2),
        ("/v1/models/mnist:predict", "application/json", "POST", _V1),
        ("/samples", "multipart/form-data; boundary=b", "POST", form_of(part(), part('form-data; name="label"', b"1"))),
        ("/train", "application/json", "POST", b'{"settings": {"epochs": 1, "layers": [784, 8, 10]}, "seed": 7}'),
        ("/models/mnist/aliases/production", "application/json", "PUT", b'{"version": 1, "reason": "why not"}'),
    ]
    return found


def _nearly_good() -> Sequence[tuple[str, str | None, str, bytes]]:
    """Take some of the short named ones in JSON: what is refused by one rule may come by another."""
    return [
        (_target(hostile), "application/json", _method(hostile), hostile.sent.partition(b"\r\n\r\n")[2])
        for hostile in named()
        if b"Content-Type: application/json" in hostile.sent and len(hostile.sent) < 4000
    ][::7]


_ROW = b"[" + b", ".join([b"0"] * 300 + [b"255"] * 40 + [b"0"] * 444) + b"]"
_V2 = b'{"id": "a", "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": ' + _ROW + b"}]}"
_V1 = b'{"instances": [' + _ROW + b"]}"


def _target(hostile: Hostile) -> str:
    return hostile.sent.split(b" ", 2)[1].decode("latin-1")


def _method(hostile: Hostile) -> str:
    return hostile.sent.partition(b" ")[0].decode()


def _mutate(content: bytes, random_: random.Random) -> bytes:
    changed = bytearray(content or b"{}")
    for _ in range(random_.choice((1, 1, 2, 3, 8))):
        place = random_.randrange(len(changed) + 1)
        match random_.randrange(6):
            case 0:
                changed[place : place + 1] = bytes([random_.randrange(256)])
            case 1:
                changed[place:place] = bytes([random_.choice(_WRITTEN)])
            case 2:
                del changed[place : place + random_.choice((1, 1, 2, 16, 200))]
            case 3:
                piece = changed[place : place + random_.choice((2, 8, 64))]
                changed[place:place] = piece * random_.choice((1, 2, 30))
            case 4:
                changed[place : place + 4] = random_.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"))
            case _:
                start = random_.randrange(len(changed) + 1)
                changed[place:place] = changed[start : start + 20]
    return bytes(changed)
