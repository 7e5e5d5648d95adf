"""Pictures as people make them, out of digits in MNIST's form: drawn with other pens, framed, photographed.

Every way takes a digit and a random generator, and answers a file. What they do to the digit loses something, so that
no reading of them can be right every time.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.stored_ways import encoded, smoothly_larger

Photograph = Callable[[np.ndarray, np.random.Generator], bytes]

SIDE = 280
INKS = {
    "black": (30, 30, 35),
    "blue": (35, 60, 170),
    "red": (190, 40, 45),
    "green": (30, 120, 60),
    "pencil": (110, 110, 112),
}


def _ink(digit: np.ndarray, size: int, canvas: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """How much ink covers each pixel, 0 to 1: the digit of `size` pixels somewhere on the canvas."""
    image = Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC)
    covered = np.clip(np.asarray(image).astype(np.float32) / 255 * 2 - 0.4, 0, 1)  # a pen has sharper edges than MNIST
    top, left = (int(rng.integers(0, side - size + 1)) for side in canvas)
    placed = np.zeros(canvas, np.float32)
    placed[top : top + size, left : left + size] = covered
    return placed


def _light(canvas: tuple[int, int], low: float, rng: np.random.Generator) -> np.ndarray:
    """Light that falls off from one side to `low` of its strength."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : canvas[0], 0 : canvas[1]] / np.array(canvas)[:, None, None] - 0.5
    along = (np.cos(angle) * x + np.sin(angle) * y) / np.sqrt(0.5) + 0.5
    return (low + (1 - low) * np.clip(along, 0, 1)).astype(np.float32)


def _shot(
    scene: np.ndarray, rng: np.random.Generator, *, noise: float = 4, blur: float = 1, quality: int = 80
) -> bytes:
    """Take the photograph of a scene (height, width, 3) of 0 to 255."""
    noisy = scene + rng.normal(0, noise, scene.shape)
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    return encoded(image, "JPEG", quality=quality)


def _sheet(covered: np.ndarray, ink: str, paper: tuple[float, ...] = (235, 232, 225)) -> np.ndarray:
    return np.asarray(paper) * (1 - covered[..., None]) + np.asarray(INKS[ink]) * covered[..., None]


def on_paper(
    ink: str = "black", low: float = 1.0, strength: float = 1.0, noise: float = 4, quality: int = 80
) -> Photograph:
    """Written on paper: `strength` is the light's, which falls off to `low` of it."""

    def take(digit: np.ndarray, rng: np.random.Generator) -> bytes:
        canvas = (360, 300)
        scene = _sheet(_ink(digit, int(rng.integers(150, 290)), canvas, rng), ink)
        return _shot(scene * strength * _light(canvas, low, rng)[..., None], rng, noise=noise, quality=quality)

    return take


def on_lines(ink: str, squares: bool = False) -> Photograph:
    """Written on lined or squared paper."""

    def take(digit: np.ndarray, rng: np.random.Generator) -> bytes:
        canvas, step = (360, 300), int(rng.integers(30, 60))
        paper = np.full((*canvas, 3), (235, 234, 228), np.float32)
        start = int(rng.integers(0, step))
        for first in (0, 1):
            paper[start + first :: step] = (165, 190, 222)
            if squares:
                paper[:, start + first :: step] = (165, 190, 222)
        covered = _ink(digit, int(rng.integers(150, 290)), canvas, rng)[..., None]
        scene = paper * (1 - covered) + np.asarray(INKS[ink]) * covered
        return _shot(scene * _light(canvas, 0.7, rng)[..., None], rng)

    return take


def in_shadow(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """The shadow of a hand lies over half of the paper."""
    canvas = (360, 300)
    scene = _sheet(_ink(digit, 240, canvas, rng), "black")
    edge = int(rng.integers(90, 210))
    shade = np.clip((np.arange(300) - edge) / 25, 0, 1) * 0.5 + 0.5
    return _shot(scene * shade[None, :, None], rng)


def on_a_board(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """Chalk on a blackboard."""
    canvas = (300, 360)
    covered = _ink(digit, 220, canvas, rng)[..., None]
    scene = np.asarray((45, 70, 60)) * (1 - covered) + np.asarray((215, 215, 205)) * covered
    return _shot(scene * _light(canvas, 0.6, rng)[..., None], rng, noise=8)


def on_a_desk(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """A note of white paper with a dark desk around it."""
    note = _sheet(_ink(digit, 200, (240, 240), rng), "black")
    scene = np.full((340, 320, 3), (70, 50, 40), np.float32)
    top, left = int(rng.integers(20, 80)), int(rng.integers(20, 60))
    scene[top : top + 240, left : left + 240] = note
    return _shot(scene * _light((340, 320), 0.7, rng)[..., None], rng)


def framed(margin: int, width: int) -> Photograph:
    """A drawing with a frame around it, `margin` pixels from the picture's edge."""

    def draw(digit: np.ndarray, _: np.random.Generator) -> bytes:
        drawing = 255 - np.pad(smoothly_larger(digit, 7, Image.Resampling.BICUBIC), 42)
        image = Image.fromarray(drawing)
        far = drawing.shape[0] - 1 - margin
        ImageDraw.Draw(image).rectangle((margin, margin, far, far), outline=0, width=width)
        return encoded(image)

    return draw


def _skeleton(digit: np.ndarray) -> np.ndarray:
    """Thin to lines one pixel wide (Zhang and Suen 1984)."""
    ink = np.pad(digit > 100, 2)
    changed = True
    while changed:
        changed = False
        for first in (True, False):
            n = [
                np.roll(ink, shift, (0, 1))
                for shift in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
            ]
            count = sum(part.astype(int) for part in n)
            turns = sum((~n[k] & n[(k + 1) % 8]).astype(int) for k in range(8))
            a, b = (n[0] & n[2] & n[4], n[2] & n[4] & n[6]) if first else (n[0] & n[2] & n[6], n[0] & n[4] & n[6])
            gone = ink & (count >= 2) & (count <= 6) & (turns == 1) & ~a & ~b
            ink &= ~gone
            changed |= bool(gone.any())
    return ink[2:-2, 2:-2]


def drawn(width: int, *, light_on_dark: bool = False) -> Photograph:
    """Drawn again along the middle of its strokes, with a pen `width` pixels wide on 280."""

    def draw(digit: np.ndarray, rng: np.random.Generator) -> bytes:
        image = Image.new("L", (400, 400), 255)
        pen = ImageDraw.Draw(image)
        points = {(int(x), int(y)) for y, x in np.argwhere(_skeleton(digit))}
        top, left = (int(offset) for offset in rng.integers(20, 100, 2))
        for x, y in points:
            for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1), (1, -1)):
                if (x + dx, y + dy) in points:
                    ends = [(left + 10 * (x + s * dx) + 5, top + 10 * (y + s * dy) + 5) for s in (0, 1)]
                    pen.line(ends, fill=0, width=width)
                    for px, py in ends:
                        pen.ellipse((px - width / 2, py - width / 2, px + width / 2, py + width / 2), fill=0)
        return encoded(Image.fromarray(255 - np.asarray(image)) if light_on_dark else image)

    return draw


def specked(digit: np.ndarray, rng: np.random.Generator) -> bytes:
    """A scan in black and white, with specks of dust."""
    covered = _ink(digit, 180, (320, 280), rng) > 0.5
    for _ in range(12):
        y, x = int(rng.integers(2, 316)), int(rng.integers(2, 276))
        covered[y : y + 2, x : x + 3] = True
    return encoded(Image.fromarray(~covered))


PHOTOGRAPHED: dict[str, Photograph] = {
    "drawn with a fine pen, 3 of 280": drawn(3),
    "drawn with a pen of 10": drawn(10),
    "drawn with a pen of 25": drawn(25),
    "drawn with a marker of 45": drawn(45),
    "drawn light on dark, pen of 12": drawn(12, light_on_dark=True),
    "a thin frame at the edge": framed(0, 2),
    "a thick frame at the edge": framed(0, 12),
    "a frame inside": framed(10, 3),
    "scanned, with specks": specked,
    "photo, even light": on_paper(),
    "photo, dim": on_paper(strength=0.5),
    "photo, very dim": on_paper(strength=0.25),
    "photo, light from one side": on_paper(low=0.4),
    "photo, noisy": on_paper(noise=18),
    "photo, hardly any quality": on_paper(quality=15),
    "photo, in shadow": in_shadow,
    "photo, blue ink": on_paper("blue", 0.7),
    "photo, red ink": on_paper("red", 0.7),
    "photo, green ink": on_paper("green", 0.7),
    "photo, pencil": on_paper("pencil", 0.7),
    "photo, blue ink on lines": on_lines("blue"),
    "photo, red ink on lines": on_lines("red"),
    "photo, black ink on squares": on_lines("black", squares=True),
    "photo, chalk on a board": on_a_board,
    "photo, a note on a dark desk": on_a_desk,
}
