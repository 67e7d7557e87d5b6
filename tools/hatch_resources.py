"""Build hook: a wheel carries the named queries, model descriptions, demo model and example prompts.

An editable install carries none of them: it reads the checkout, and a copy would go stale.
"""

from __future__ import annotations

from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

RESOURCES: Final = {
    "cypher": "flowatlas/_resources/cypher",
    "docker/neo4j": "flowatlas/_resources/docker/neo4j",
    "model_configs": "flowatlas/_resources/model_configs",
    "examples/demo_model": "flowatlas/_resources/demo_model",
    "examples/prompts.jsonl": "flowatlas/_resources/examples/prompts.jsonl",
}


class ResourcesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the resources to wheels that are not editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds `version` (`standard` or `editable`)."""
        if version != "editable":
            build_data["force_include"].update(RESOURCES)
