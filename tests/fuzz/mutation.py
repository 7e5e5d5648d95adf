"""Small changes of bytes, as they find faults in readers."""

import random

_NUMBERS = (b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1")
_SIGNS = b'0123456789-+.eE{}[]",:\\ \0\r\n\xff%&=;/ABCxyz'


def mutated(seeds: list[bytes], random_: random.Random) -> bytes:
    """Change one of the seeds in a few places."""
    changed = bytearray(random_.choice(seeds))
    for _ in range(random_.choice((1, 1, 1, 2, 3, 8))):
        place = random_.randrange(len(changed) + 1)
        match random_.randrange(7):
            case 0:
                changed[place : place + 1] = bytes([random_.randrange(256)])
            case 1:
                changed[place:place] = bytes([random_.choice(_SIGNS)])
            case 2:
                del changed[place : place + random_.choice((1, 1, 2, 4, 16, 200))]
            case 3:
                changed[place:place] = changed[place : place + random_.choice((2, 8, 64))] * random_.choice((1, 2, 30))
            case 4:
                number = random_.choice(_NUMBERS)
                changed[place : place + len(number)] = number
            case 5:  # a piece of another
                other = random_.choice(seeds)
                start = random_.randrange(len(other) + 1)
                changed[place : place + 20] = other[start : start + random_.choice((4, 20, 200))]
            case _:
                if place < len(changed):
                    changed[place] ^= 1 << random_.randrange(8)
    return bytes(changed)
