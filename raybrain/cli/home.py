"""Commands for what is kept: home, home clean, home verify."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from raybrain.cli.common import Home, Json, Where, app, console, known_cluster, print_json, say

if TYPE_CHECKING:
    from raybrain.bucket.address import BucketHome

homes = typer.Typer(name="home", help="Show what is kept, and remove what nothing needs.", rich_markup_mode=None)
app.add_typer(homes)


@homes.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="every item, not only the largest of each kind")] = False,
    home: Home = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Show what is kept: runs, sweeps, prepared data, features, memory maps; how large it is, and what uses it."""
    if context.invoked_subcommand:
        return
    from raybrain.bucket.address import place_of
    from raybrain.download.unpack import amount
    from raybrain.housekeeping import look
    from raybrain.report.terminal import MOST, home_table

    cluster = known_cluster(home, where)
    if bucket := place_of(cluster.home):
        _show_bucket(bucket, as_json)
        return
    items = look(cluster)
    console().print(home_table(items, None if every else MOST))
    total, needless = sum(item.bytes for item in items), sum(item.bytes for item in items if item.needless)
    say(f"{cluster.home}: {amount(total)}")
    if needless:
        say(f"nothing needs {amount(needless)} of it; `raybrain home clean` removes that")
    print_json(as_json, {"home": str(cluster.home), "bytes": total, "items": [item.result() for item in items]})


@homes.command()
def clean(
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    home: Home = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Remove what nothing needs and can be made again, after showing it; never a result."""
    from raybrain.bucket.address import place_of
    from raybrain.download.unpack import amount
    from raybrain.housekeeping import clean as remove
    from raybrain.housekeeping import look
    from raybrain.report.terminal import home_table

    cluster = known_cluster(home, where)
    if bucket := place_of(cluster.home):
        _clean_bucket(bucket, yes, as_json)
        return
    needless = [item for item in look(cluster) if item.needless]
    if needless:
        console().print(home_table(needless, None))
    else:
        say(f"everything in {cluster.home} is needed")
    removed = remove(cluster, needless) if needless and (yes or _agreed()) else []
    if removed:
        say(f"removed {len(removed)} of {len(needless)}: {amount(sum(item.bytes for item in removed))}")
    results = {"needless": [item.result() for item in needless], "removed": [str(item.path) for item in removed]}
    print_json(as_json, results)


@homes.command()
def verify(home: Home = None, where: Where = None, as_json: Json = False) -> None:
    """Read every file that raybrain wrote and compare it with its checksum; exit code 1 if one is damaged."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from raybrain.bucket.address import place_of, typed_path
    from raybrain.bucket.contents import damaged_objects, held
    from raybrain.console import PlainConsole
    from raybrain.verification import extent
    from raybrain.verification import verify as look

    cluster = known_cluster(home, where)
    bucket, shown = place_of(cluster.home), typed_path(cluster.home)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    damaged = []
    with Progress(*columns, console=PlainConsole(stderr=True)) as bar:
        task = bar.add_task("verify", total=sum(one.bytes for one in held(bucket)) if bucket else extent(cluster))

        def advance(done: int) -> None:
            bar.advance(task, done)

        for item in damaged_objects(bucket, advance) if bucket else look(cluster, advance):
            say(f"{item.path}: {item.reason}; {item.cure}")
            damaged.append(item)
    say(f"{len(damaged)} damaged files in {shown}" if damaged else f"everything in {shown} is as it was written")
    print_json(as_json, {"home": shown, "damaged": [item.result() for item in damaged]})
    if damaged:
        raise typer.Exit(1)


def _show_bucket(bucket: "BucketHome", as_json: bool) -> None:
    from raybrain.bucket.contents import held
    from raybrain.download.unpack import amount

    folders = held(bucket)
    for one in folders:
        say(f"{one.name}: {amount(one.bytes)} in {one.files} files")
    total = sum(one.bytes for one in folders)
    say(f"{bucket}: {amount(total)}; a folder that is deleted there is gone for raybrain, too")
    print_json(as_json, {"home": str(bucket), "bytes": total, "items": [vars(one) for one in folders]})


def _clean_bucket(bucket: "BucketHome", yes: bool, as_json: bool) -> None:
    """Remove what uploads left that were cut off; what runs and sweeps need is not looked at, so nothing else goes."""
    from raybrain.bucket.contents import unnamed
    from raybrain.bucket.objects import objects_of
    from raybrain.download.unpack import amount

    left = unnamed(bucket)
    for name, size in left.items():
        say(f"{bucket}/{name}: {amount(size)}")
    say(f"{amount(sum(left.values()))} of uploads that were cut off" if left else f"nothing is left over in {bucket}")
    removed = list(left) if left and (yes or _agreed()) else []
    objects_of(bucket).delete(removed)
    print_json(as_json, {"needless": [{"path": name, "bytes": size} for name, size in left.items()], "removed": removed})


def _agreed() -> bool:
    """Whether a person says yes; nobody is asked where there is nobody."""
    if sys.stdin.isatty():
        return typer.confirm("remove all of this?")
    say("nothing is removed; add --yes to remove all of this")
    return False
