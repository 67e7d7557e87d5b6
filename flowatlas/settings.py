"""Settings: a typed option wins over the environment (`FLOWATLAS_...`), which wins over the default."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that can be set through the environment, each as FLOWATLAS_ and its name."""

    model_config = SettingsConfigDict(env_prefix="FLOWATLAS_", extra="ignore")

    store: str = Field("flowatlas.lbug", description="store URI: a path, or neo4j://host:7687/database")
    model: str = Field("demo", description="model: demo, a folder, or a hub name")
    model_configs: Path | None = Field(None, description="folder of your own model descriptions; they come first")
    shards: Path | None = Field(None, description="folder of the shards; default: beside the store")
    cache: Path | None = Field(
        None, description="folder of caches; default: $XDG_CACHE_HOME/flowatlas, or ~/.cache/flowatlas"
    )
    factor_cache_gb: float = Field(0.0, ge=0, description="disk in the cache for the lens' factors of a model, GB")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where ingest computes: auto, cpu or cuda")
    shard_prompts: int = Field(128, ge=1, description="prompts a shard and a write to the store")
    ingest_memory_mb: int = Field(
        5120, ge=0, description="memory an ingest takes beside its model, MiB; above, lens and store take turns"
    )
    neo4j_user: str = Field("neo4j", description="user name on the Neo4j server")
    neo4j_password: SecretStr | None = Field(None, description="password on the Neo4j server")
    neo4j_password_file: Path | None = Field(None, description="file whose first line is the password")
    ladybug_buffer_mb: int = Field(2048, ge=512, description="buffer pool of the embedded store, MiB; a writer begins with half")
    query_timeout: float = Field(60.0, gt=0, description="seconds a user's query may run")
    query_rows: int = Field(100_000, ge=1, description="rows a user's query may return")
    query_memory_mb: int = Field(1024, ge=64, description="memory a user's query may use, MiB")
    dashboard_password: SecretStr | None = Field(None, description="password of a dashboard that is not on loopback")


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read from the environment once."""
    return Settings()


def cache_folder() -> Path:
    """The folder of caches: the setting, or the user's cache folder (XDG base directories)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    user = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return settings().cache or user / "flowatlas"
