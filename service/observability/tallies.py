"""What is counted, as plain Python: cells that cost next to nothing to add to, and become Prometheus samples later.

The client library's own counters take a lock and build a key each time, which is more than a prediction takes. These
belong to one thread. They can be written down, and those of several processes added up.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Labels = tuple[str, ...]
Cells = list[float]
"""One number; or of a histogram the counts of its buckets, the last one open, and the sum of what was observed."""


@dataclass(frozen=True)
class Family:
    """What the samples of one name mean."""

    name: str
    """As Prometheus shows it, without `_total`."""
    kind: Literal["counter", "gauge", "histogram"]
    explanation: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    """The upper bounds of a histogram's buckets."""
    is_shared: bool = False
    """Whether a gauge says the same of all processes, so that the greatest counts and not the sum."""

    def zero(self) -> Cells:
        """Make cells in which nothing is counted."""
        return [0.0] * (len(self.bounds) + 2 if self.kind == "histogram" else 1)


class Tallies:
    """The cells of all families, by the values of their labels."""

    def __init__(self, families: Iterable[Family]) -> None:
        """Begin at zero; what has no labels is shown from the beginning."""
        self._families = {family.name: family for family in families}
        self._cells: dict[str, dict[Labels, Cells]] = {
            name: {} if family.labels else {(): family.zero()} for name, family in self._families.items()
        }

    def of(self, name: str, *labels: str) -> Cells:
        """Give the cells to add to."""
        cells = self._cells[name].get(labels)
        if cells is None:
            cells = self._cells[name][labels] = self._families[name].zero()
        return cells

    def add(self, name: str, labels: Labels, cells: Sequence[float]) -> None:
        """Add cell by cell; of a gauge that is shared the greatest stays."""
        mine = self.of(name, *labels)
        for place, value in enumerate(cells):
            mine[place] = max(mine[place], value) if self._families[name].is_shared else mine[place] + value

    def replace(self, name: str, values: dict[Labels, float]) -> None:
        """Set all samples of a gauge; those that are not named are gone."""
        self._cells[name] = {labels: [value] for labels, value in values.items()}

    def to_json(self, kinds: Sequence[str] = ("counter", "histogram", "gauge")) -> dict[str, Any]:
        """Write down what is counted, as a copy."""
        return {
            name: [[list(labels), cells.copy()] for labels, cells in samples.items()]
            for name, samples in self._cells.items()
            if self._families[name].kind in kinds
        }

    def absorb(self, written: dict[str, Any]) -> None:
        """Add what was written down; a family that is not known any more is passed over."""
        for name, samples in written.items():
            family = self._families.get(name)
            for labels, cells in samples if family else ():
                if family and len(labels) == len(family.labels) and len(cells) == len(family.zero()):
                    self.add(name, tuple(labels), cells)

    def samples(self) -> Iterator[tuple[Family, dict[Labels, Cells]]]:
        """Give all families with their cells."""
        for name, family in self._families.items():
            yield family, self._cells[name]
