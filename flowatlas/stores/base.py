"""What a store is: five methods over one schema, whatever database is behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    import pyarrow as pa

    from flowatlas.shards import Shard

Dialect = Literal["ladybug", "neo4j"]
Scalar = str | int | float | bool | None
Parameter = Scalar | Sequence[Scalar]


@dataclass(frozen=True)
class Limits:
    """What a user's query may take: `seconds`, `rows` returned, `memory_mb` held."""

    seconds: float = 60.0
    rows: int = 100_000
    memory_mb: int = 1024


@dataclass(frozen=True)
class Answer:
    """Rows of a user's query; `truncated` when there were more than the limit."""

    table: pa.Table
    truncated: bool
    seconds: float


@dataclass(frozen=True)
class Written:
    """What one `write` added: prompts new to the store, and those that it had already."""

    prompts: int
    skipped: int
    states: int
    relationships: int

    def __add__(self, other: Written) -> Written:
        return Written(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Compacted:
    """Bytes of a store's files before and after it was compacted."""

    before: int
    after: int


class Store(ABC):
    """A graph database that holds flow graphs.

    Node and relationship properties are those of `flowatlas.vocabulary`. Integers, strings and
    lists are equal on every store; 32-bit floats may differ in their last digits.
    """

    uri: str
    dialect: Dialect
    relationships_a_write: int = 0
    """Relationships that are better written together, if they come one soon after another."""

    @abstractmethod
    def read(self, text: str, parameters: Mapping[str, Parameter] | None = None) -> pa.Table:
        """Rows of a trusted read-only query (the project's own), as an Arrow table.

        Raises QueryError with the database's message.
        """

    @abstractmethod
    def ask(self, text: str, parameters: Mapping[str, Parameter] | None = None, limits: Limits | None = None) -> Answer:
        """Rows of a query that a person wrote: read-only, guarded, within `limits`.

        Raises QueryError when it would write, reach outside the database, fail, or run too long.
        """

    @abstractmethod
    def write(self, shard: Shard, *, only: frozenset[str] | None = None) -> Written:
        """Add a model shard or the prompts of a prompt shard that the store does not have yet.

        `only` limits the prompts to those with these keys. Each prompt enters whole or not at all. Raises StoreError.
        """

    def write_all(self, shards: Sequence[Shard]) -> Written:
        """Add shards of prompts, together where that is faster; what was added in all. Raises StoreError."""
        return sum((self.write(shard) for shard in shards), Written(0, 0, 0, 0))

    @abstractmethod
    def delete(self, prompts: Sequence[int]) -> int:
        """Delete prompts with everything that is theirs; how many there were. Raises StoreError."""

    @abstractmethod
    def compact(self) -> Compacted:
        """Make the store's files as small as what it holds allows. Raises StoreError where that cannot be done."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    def prompt_keys(self) -> frozenset[str]:
        """Keys of all prompts that the store has."""
        return frozenset(self.read("MATCH (p:Prompt) RETURN p.key AS key")["key"].to_pylist())

    def model_ids(self) -> frozenset[str]:
        """Ids of all models that the store has."""
        return frozenset(self.read("MATCH (m:Model) RETURN m.id AS id")["id"].to_pylist())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
