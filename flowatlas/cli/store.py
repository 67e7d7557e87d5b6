"""`flowatlas store`: what is in a store, and putting shards into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from flowatlas.cli.console import people

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URI",
        help="Store: a path or neo4j://host:7687/database [FLOWATLAS_STORE].",
        show_default=False,
    ),
]

group = typer.Typer(
    name="store",
    help="Look after a store: what is in it, load, verify, rebuild, compact, delete.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add `store` and its commands."""
    app.add_typer(group)


@group.command()
def info(store: StoreOption = None) -> None:
    """Print what a store holds, as lines of name and number."""
    from flowatlas.stores import open_store
    from flowatlas.stores.summary import summarize

    with open_store(_uri(store)) as opened:
        found = summarize(opened)
    rows: list[tuple[str, object]] = [("store", found.uri), ("schema version", found.schema_version)]
    rows += [("model", name) for name in found.models]
    rows += [("prompts", found.prompts), ("states", found.states), ("relationships", sum(found.relationships.values()))]
    if found.bytes_on_disk is not None:
        rows.append(("bytes", found.bytes_on_disk))
    rows += [(f"  {name}", number) for name, number in (*found.nodes.items(), *found.relationships.items())]
    for name, value in rows:
        typer.echo(f"{name}\t{value}")


@group.command()
def load(
    shards: Annotated[Path, typer.Argument(help="Folder of shards, or one shard.", metavar="SHARDS")],
    store: StoreOption = None,
) -> None:
    """Add shards to a store; prompts that are there already are skipped."""
    from flowatlas.stores import open_store
    from flowatlas.stores.load import find_shards, load_shards

    found = find_shards(shards)
    with open_store(_uri(store), mode="write") as opened, progress("prompts") as report:
        done = load_shards(opened, found, report)
    people.print(
        f"{done.prompts} prompts added ({done.states} states, {done.relationships} relationships), "
        f"{done.skipped} were there already."
    )


@group.command(name="import")
def import_(
    shards: Annotated[Path, typer.Argument(help="Folder of shards, or one shard.", metavar="SHARDS")],
    neo4j_home: Annotated[Path, typer.Option(help="Home of a Neo4j server that is stopped (.neo4j for make neo4j's).")],
    database: Annotated[str, typer.Option(help="Name of the database to make.")] = "neo4j",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the database that is there.")] = False,
) -> None:
    """Make a Neo4j database from shards by neo4j-admin import: the fastest way, with the server stopped."""
    from flowatlas.stores.load import find_shards
    from flowatlas.stores.neo4j_import import import_shards

    done = import_shards(find_shards(shards), neo4j_home, database=database, overwrite=overwrite)
    people.print(f"{done.prompts} prompts imported ({done.relationships} relationships). Now start the server.")


@group.command()
def delete(
    prompts: Annotated[list[int], typer.Argument(help="Ids of the prompts.", metavar="PROMPT...")],
    store: StoreOption = None,
) -> None:
    """Delete prompts and everything that is theirs (their shards stay)."""
    from flowatlas.errors import StoreError
    from flowatlas.stores import open_store

    with open_store(_uri(store), mode="write") as opened:
        known = set(opened.read("MATCH (p:Prompt) RETURN p.id AS id")["id"].to_pylist())
        missing = sorted(set(prompts) - known)
        if missing:
            raise StoreError(
                f"There is no prompt {', '.join(map(str, missing))} in {opened.uri}; nothing was deleted.",
                next_step="List them: flowatlas query prompts.",
            )
        number = opened.delete(prompts)
    people.print(f"{number} prompts deleted.")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that is told how many of how many are done."""
    from rich import progress as rich_progress

    columns = (
        rich_progress.TextColumn(what),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=people, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@group.command()
def verify(
    shards: Annotated[
        Path | None, typer.Argument(help="Folder of shards; default: beside the store.", metavar="[SHARDS]")
    ] = None,
    store: StoreOption = None,
    sample: Annotated[int, typer.Option(min=0, help="Prompts whose invariants are checked, of all in the store.")] = 8,
) -> None:
    """Compare a store with its shards: keys, counts and checksums of every prompt; check that sums and ranks hold
    in a sample. Exit code 1 when something differs.
    """
    from flowatlas.stores import open_store
    from flowatlas.stores.load import find_shards
    from flowatlas.stores.verify import verify

    found = find_shards(shards or _shards(store))
    with open_store(_uri(store)) as opened:
        result = verify(opened, found, sample)
    for difference in result.differences:
        typer.echo(f"{difference.key}\t{difference.table}\t{difference.problem}")
    people.print(
        f"{result.prompts} prompts and {result.models} models of {len(found)} shards compared: "
        f"{len(result.differences) or 'no'} differences (sums and ranks checked in {result.sampled})"
        + (f"; {result.extra} prompts of the store are in no shard." if result.extra else ".")
    )
    if result.differences:
        raise typer.Exit(1)


@group.command()
def rebuild(
    shards: Annotated[
        Path | None, typer.Argument(help="Folder of shards; default: beside the store.", metavar="[SHARDS]")
    ] = None,
    store: StoreOption = None,
    drop: Annotated[bool, typer.Option("--drop", help="Let prompts go that are in no shard.")] = False,
) -> None:
    """Make the embedded store again from its shards, beside the old one, and swap it in."""
    from flowatlas.errors import UsageError
    from flowatlas.stores import is_neo4j, store_path
    from flowatlas.stores.load import find_shards
    from flowatlas.stores.rebuild import rebuild

    uri = _uri(store)
    if is_neo4j(uri):
        raise UsageError(
            "A database on a server is not rebuilt in place.",
            next_step="Use flowatlas store import SHARDS --neo4j-home DIR --overwrite.",
        )
    found = find_shards(shards or _shards(store))
    with progress("prompts") as report:
        done = rebuild(store_path(uri), found, report, drop=drop)
    people.print(f"{uri} was made again: {done.prompts} prompts, {done.relationships} relationships.")


@group.command()
def compact(store: StoreOption = None) -> None:
    """Make an embedded store's file smaller: what deletes and many small writes left in it goes."""
    from flowatlas.stores import open_store

    uri = _uri(store)
    with open_store(uri, mode="write") as opened:
        done = opened.compact()
    typer.echo(f"before\t{done.before}\nafter\t{done.after}")
    people.print(f"{uri} takes {done.after / 1e6:.1f} MB; it took {done.before / 1e6:.1f} MB.")


def _shards(store: str | None) -> Path:
    from flowatlas.settings import settings
    from flowatlas.stores import shards_path

    return settings().shards or shards_path(_uri(store))


def _uri(given: str | None) -> str:
    from flowatlas.settings import settings

    return given or settings().store
