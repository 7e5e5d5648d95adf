"""Aliases: names for versions, each an append-only log of what it has meant.

    models/<name>/aliases/<alias>/<generation>.json    {"version": 2, "since": …, "reason": …}

An entry is written create-only under the next number: of two who promote at once one wins, and the log is the history.
Beside its version an entry may name a candidate that is on trial, as `trial` explains.
"""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from service.errors import Conflict, CorruptModel, InvalidInput, NotFound, PreconditionFailed
from service.json_objects import read_object
from service.registry.store import Store

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
Mode = Literal["canary", "shadow"]
_TRIES = 20
_ENTRY = re.compile(r"/[0-9]{8,10}\.json$")


@dataclass(frozen=True)
class Candidate:
    """A version on trial beside the one that an alias means."""

    version: int
    share: float
    """Of the requests, above 0 and at most 1."""
    mode: Mode
    """A canary answers its share of the requests; a shadow reads its share along and answers none."""


@dataclass(frozen=True)
class AliasEntry:
    """One entry of an alias's log: since `since`, `alias` means `version`."""

    alias: str
    version: int
    generation: int
    since: str
    reason: str
    candidate: Candidate | None = None


class AliasLog:
    """The aliases of all models on a store."""

    def __init__(self, store: Store) -> None:
        """Stand on a store."""
        self._store = store

    def names(self, name: str) -> list[str]:
        """List a model's aliases."""
        return [
            alias
            for alias in self._store.list_folders(f"models/{validate_name(name)}/aliases")
            if NAME.fullmatch(alias)
        ]

    def generations(self, name: str, alias: str) -> list[int]:
        """List the numbers of an alias's entries, newest first, damaged ones too."""
        keys = self._store.list(f"models/{validate_name(name)}/aliases/{validate_name(alias)}")
        return sorted((int(Path(key).stem) for key in keys if _ENTRY.search(key)), reverse=True)

    def now(self, name: str, alias: str) -> AliasEntry:
        """Say what an alias means now. Raises NotFound, or CorruptModel when its last entry cannot be read."""
        generations = self.generations(name, alias)
        if not generations:
            if names := self.names(name):
                raise NotFound(f"model {name} has no alias {alias}; it has {', '.join(names)}")
            raise NotFound(f"there is no model {name}; GET /models lists the models")
        return self.entry(name, alias, generations[0])

    def history(self, name: str, alias: str, before: int | None = None) -> Iterator[AliasEntry]:
        """Give what an alias has meant, newest first, without damaged entries; each is read when it is asked for."""
        for generation in self.generations(name, alias):
            if before is None or generation < before:
                try:
                    yield self.entry(name, alias, generation)
                except CorruptModel:
                    continue

    def entry(self, name: str, alias: str, generation: int) -> AliasEntry:
        """Read one entry. Raises CorruptModel."""
        key = _key(name, alias, generation)
        with self._store.damaged.track(key, CorruptModel):
            try:
                entry = read_object(self._store.get(key))
                since, reason = entry["since"], entry["reason"]
                if not isinstance(since, str) or not isinstance(reason, str):
                    raise TypeError
                return AliasEntry(alias, _number(entry["version"]), generation, since, reason, _candidate(entry))
            except (ValueError, KeyError, TypeError):
                raise CorruptModel(f"generation {generation} of the alias {alias} of {name} is damaged") from None

    def expect(self, name: str, alias: str, generation: int | None) -> int:
        """Answer an alias's generation, 0 when it has none. Raises PreconditionFailed when another was expected."""
        present = max(self.generations(name, alias), default=0)
        if generation not in (None, present):
            raise PreconditionFailed(f"the alias is at generation {present}, not {generation}")
        return present

    def append(
        self, name: str, alias: str, version: int, candidate: Candidate | None, expected: int | None, reason: str
    ) -> AliasEntry:
        """Let an alias mean a version from now on; with `expected` only if nobody else was faster.

        Raises PreconditionFailed, or Conflict when others keep being faster.
        """
        since = datetime.now(UTC).isoformat(timespec="milliseconds")
        # The id tells an own entry from a rival's: S3 may have written it although its answer was lost on the way.
        entry: dict[str, Any] = {"version": version, "since": since, "reason": reason, "id": secrets.token_hex(8)}
        if candidate:
            entry |= {"candidate": candidate.version, "share": candidate.share, "mode": candidate.mode}
        for _ in range(_TRIES):
            generation = self.expect(name, alias, expected)
            if self._written(_key(name, alias, generation + 1), json.dumps(entry).encode()):
                return AliasEntry(alias, version, generation + 1, since, reason, candidate)
        raise Conflict("others keep promoting this alias; try again")

    def _written(self, key: str, entry: bytes) -> bool:
        """Write an entry under a number that must be free; tell whether it stands there."""
        try:
            self._store.create(key, entry)
        except FileExistsError:
            return self._store.get(key) == entry
        return True


def validate_name(name: str) -> str:
    """Give back a name that can be part of a key. Raises InvalidInput for another."""
    if not NAME.fullmatch(name):
        raise InvalidInput("names are lower-case letters, digits, - and _, at most 63", field="name")
    return name


def parse_candidate(version: int, share: float | None, mode: str) -> Candidate:
    """Put a trial together; a shadow reads all requests unless told otherwise. Raises InvalidInput."""
    if mode not in ("canary", "shadow"):
        raise InvalidInput("the mode is canary or shadow", field="mode")
    if share is None and mode == "canary":
        raise InvalidInput("a canary needs the share of the requests that it answers", field="share")
    share = 1.0 if share is None else share
    if not 0 < share <= 1:
        raise InvalidInput("the share is above 0 and at most 1", field="share")
    return Candidate(version, share, "canary" if mode == "canary" else "shadow")


def _candidate(entry: dict[str, Any]) -> Candidate | None:
    if "candidate" not in entry:
        return None
    try:
        return parse_candidate(_number(entry["candidate"]), float(entry["share"]), str(entry["mode"]))
    except InvalidInput as error:
        raise ValueError from error


def _number(value: Any) -> int:
    """Read the number of a version. Raises ValueError or TypeError."""
    number = int(value)
    if not 0 < number < 2**31:
        raise ValueError
    return number


def _key(name: str, alias: str, generation: int) -> str:
    return f"models/{name}/aliases/{alias}/{generation:08d}.json"
