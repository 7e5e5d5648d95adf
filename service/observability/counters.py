"""Counters, gauges and histograms as plain lists of floats, exported to Prometheus later.

The client library's own counters take a lock and build a key on every call, which costs more than a small prediction.
These are not thread-safe, can be serialised to JSON, and tables of several processes can be merged.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Labels = tuple[str, ...]
Values = list[float]
"""One number; for a histogram the bucket counts, the last one +Inf, then the sum of the observations."""


@dataclass(frozen=True)
class Family:
    """A metric family."""

    name: str
    """The exported name, without `_total`."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of the buckets of a histogram."""
    is_shared: bool = False
    """A gauge with the same meaning in all processes: merging takes the maximum instead of the sum."""

    def new_values(self) -> Values:
        """Return values that start at zero."""
        return [0.0] * (len(self.bounds) + 2 if self.kind == "histogram" else 1)


class CounterTable:
    """The values of all families, by label values."""

    def __init__(self, families: Iterable[Family]) -> None:
        """Start at zero. Families without labels are exported from the start."""
        self._families = {family.name: family for family in families}
        self._values: dict[str, dict[Labels, Values]] = {
            name: {} if family.labels else {(): family.new_values()} for name, family in self._families.items()
        }

    def get(self, name: str, *labels: str) -> Values:
        """Return the values to add to, created if necessary."""
        values = self._values[name].get(labels)
        if values is None:
            values = self._values[name][labels] = self._families[name].new_values()
        return values

    def add(self, name: str, labels: Labels, values: Sequence[float]) -> None:
        """Add element by element; a shared gauge takes the maximum."""
        own = self.get(name, *labels)
        for index, value in enumerate(values):
            own[index] = max(own[index], value) if self._families[name].is_shared else own[index] + value

    def replace(self, name: str, values: dict[Labels, float]) -> None:
        """Set all label values of a gauge and remove the others."""
        self._values[name] = {labels: [value] for labels, value in values.items()}

    def to_json(self, kinds: Sequence[str] = ("counter", "histogram", "gauge")) -> dict[str, Any]:
        """Return a copy as JSON-compatible data."""
        return {
            name: [[list(labels), values.copy()] for labels, values in items.items()]
            for name, items in self._values.items()
            if self._families[name].kind in kinds
        }

    def merge(self, serialised: dict[str, Any]) -> None:
        """Add the output of `to_json`. Unknown families, and families whose shape differs, are ignored."""
        for name, items in serialised.items():
            family = self._families.get(name)
            for labels, values in items if family else ():
                if family and len(labels) == len(family.labels) and len(values) == len(family.new_values()):
                    self.add(name, tuple(labels), values)

    def items(self) -> Iterator[tuple[Family, dict[Labels, Values]]]:
        """Yield every family with its values."""
        for name, family in self._families.items():
            yield family, self._values[name]
