"""What an ingest did, for the progress bar, the summary and the report file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from flowatlas.shards import Shard
from flowatlas.stores.base import Written
from ingest.pipeline.prepare import Refused


@dataclass
class Report:
    """What an ingest did."""

    model: str
    store: str
    device: str = "cpu"
    computed: int = 0
    prompts: int = 0
    already_there: int = 0
    states: int = 0
    relationships: int = 0
    refused: list[Refused] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    total_seconds: float = 0.0
    bytes: int = 0
    interrupted: bool = False

    def add(self, written: Written) -> None:
        """Count what one write to the store added."""
        self.prompts += written.prompts
        self.states += written.states
        self.relationships += written.relationships

    def add_shard(self, shard: Shard) -> None:
        """Count the bytes of a shard that goes into the store."""
        self.bytes += sum(file.bytes for file in shard.manifest.tables.values())


class Progress(Protocol):
    """Told how far the ingest is: the report so far, and what is being done."""

    def __call__(self, report: Report, stage: str = "ingest", /) -> None: ...
