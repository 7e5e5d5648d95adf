"""Aliases: names that point to versions. Each alias is an append-only log of the versions it has pointed to.

    models/<name>/aliases/<alias>/<generation>.json    {"version": 2, "since": …, "reason": …}

Entries are created under consecutive generation numbers and never overwritten, so only one of several concurrent
promotions succeeds and the log is the history. An entry may also name a candidate version that runs as a canary or a
shadow; see `service.serving.candidate`.
"""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from service.errors import Conflict, CorruptModel, NotFound, PreconditionFailed, UnprocessableContent
from service.json_objects import read_object
from service.registry.store import Store

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
Mode = Literal["canary", "shadow"]
_MAX_ATTEMPTS = 20
_ENTRY = re.compile(r"/[0-9]{8,10}\.json$")


@dataclass(frozen=True)
class Candidate:
    """A version that is rolled out next to the version of an alias."""

    version: int
    share: float
    """Fraction of the requests, above 0 and at most 1."""
    mode: Mode
    """A canary answers its share of the requests; a shadow only gets a copy of them."""


@dataclass(frozen=True)
class AliasEntry:
    """One entry of an alias's log: since `since`, `alias` points to `version`."""

    alias: str
    version: int
    generation: int
    since: str
    reason: str
    candidate: Candidate | None = None


class AliasLog:
    """Reads and appends the alias logs of all models in a store."""

    store: Store

    def alias_names(self, name: str) -> list[str]:
        """Return the names of a model's aliases."""
        folders = self.store.list_folders(f"models/{validate_name(name)}/aliases")
        return [alias for alias in folders if NAME.fullmatch(alias)]

    def alias(self, name: str, alias: str) -> AliasEntry:
        """Return an alias's current entry. Raises NotFound; CorruptModel if the last entry is unreadable."""
        generations = self._generations(name, alias)
        if not generations:
            if names := self.alias_names(name):
                raise NotFound(f"model {name} has no alias {alias}; it has {', '.join(names)}")
            raise NotFound(f"there is no model {name}; GET /models lists the models")
        return self._read_entry(name, alias, generations[0])

    def aliases(self, name: str) -> list[AliasEntry]:
        """Return the newest readable entry of each of a model's aliases."""
        return [entry for alias in self.alias_names(name) for entry in self.history(name, alias, 1)]

    def history(self, name: str, alias: str, limit: int | None = None, before: int | None = None) -> list[AliasEntry]:
        """Return up to `limit` readable entries older than generation `before`, newest first."""
        return list(islice(self.iterate_history(name, alias, before), limit))

    def iterate_history(self, name: str, alias: str, before: int | None = None) -> Iterator[AliasEntry]:
        """Yield the readable entries of an alias, newest first; each is read when it is requested."""
        for generation in self._generations(name, alias):
            if before is None or generation < before:
                try:
                    yield self._read_entry(name, alias, generation)
                except CorruptModel:
                    continue

    def generation(self, name: str, alias: str, expected: int | None = None) -> int:
        """Return an alias's generation, damaged entries included; 0 for a new alias.

        Raises PreconditionFailed if another generation was expected.
        """
        current = max(self._generations(name, alias), default=0)
        if expected not in (None, current):
            raise PreconditionFailed(f"the alias is at generation {current}, not {expected}")
        return current

    def append_entry(
        self, name: str, alias: str, version: int, candidate: Candidate | None, expected: int | None, reason: str
    ) -> AliasEntry:
        """Point an alias to a version, if `expected` is its generation or None.

        Raises PreconditionFailed, or Conflict after too many concurrent promotions.
        """
        since = datetime.now(UTC).isoformat(timespec="milliseconds")
        # The ID identifies our own entry: S3 may have created it although its response was lost.
        entry: dict[str, Any] = {"version": version, "since": since, "reason": reason, "id": secrets.token_hex(8)}
        if candidate:
            entry |= {"candidate": candidate.version, "share": candidate.share, "mode": candidate.mode}
        for _ in range(_MAX_ATTEMPTS):
            generation = self.generation(name, alias, expected) + 1
            if self._create_entry(_key(name, alias, generation), json.dumps(entry).encode()):
                return AliasEntry(alias, version, generation, since, reason, candidate)
        raise Conflict("too many concurrent promotions of this alias; try again")

    def _generations(self, name: str, alias: str) -> list[int]:
        """Return the generation numbers of an alias, newest first, damaged entries included."""
        keys = self.store.list(f"models/{validate_name(name)}/aliases/{validate_name(alias)}")
        return sorted((int(Path(key).stem) for key in keys if _ENTRY.search(key)), reverse=True)

    def _read_entry(self, name: str, alias: str, generation: int) -> AliasEntry:
        """Read one entry. Raises CorruptModel."""
        key = _key(name, alias, generation)
        with self.store.damaged.track(key, CorruptModel):
            try:
                entry = read_object(self.store.get(key))
                since, reason = entry["since"], entry["reason"]
                if not isinstance(since, str) or not isinstance(reason, str):
                    raise TypeError
                return AliasEntry(alias, _version(entry["version"]), generation, since, reason, _candidate(entry))
            except (ValueError, KeyError, TypeError):
                raise CorruptModel(f"generation {generation} of the alias {alias} of {name} is damaged") from None

    def _create_entry(self, key: str, entry: bytes) -> bool:
        """Create an entry; return whether it is ours."""
        try:
            self.store.create(key, entry)
        except FileExistsError:
            return self.store.get(key) == entry
        return True


def validate_name(name: str) -> str:
    """Return a name that is valid in a key. Raises UnprocessableContent otherwise."""
    if not NAME.fullmatch(name):
        raise UnprocessableContent("names are lower-case letters, digits, - and _, at most 63", field="name")
    return name


def parse_candidate(version: int, share: float | None, mode: str) -> Candidate:
    """Return a candidate; the default share of a shadow is 1. Raises UnprocessableContent."""
    if mode not in ("canary", "shadow"):
        raise UnprocessableContent("the mode must be canary or shadow", field="mode")
    if share is None and mode == "canary":
        raise UnprocessableContent("a canary needs the share of the requests that it answers", field="share")
    share = 1.0 if share is None else share
    if not 0 < share <= 1:
        raise UnprocessableContent("the share must be above 0 and at most 1", field="share")
    return Candidate(version, share, "canary" if mode == "canary" else "shadow")


def _candidate(entry: dict[str, Any]) -> Candidate | None:
    if "candidate" not in entry:
        return None
    try:
        return parse_candidate(_version(entry["candidate"]), float(entry["share"]), str(entry["mode"]))
    except UnprocessableContent as error:
        raise ValueError from error


def _version(value: Any) -> int:
    """Parse a version number. Raises ValueError or TypeError."""
    number = int(value)
    if not 0 < number < 2**31:
        raise ValueError
    return number


def _key(name: str, alias: str, generation: int) -> str:
    return f"models/{name}/aliases/{alias}/{generation:08d}.json"
