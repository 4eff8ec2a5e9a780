"""Commands for studies: fetch."""

from dataclasses import replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybrain.cli.common import Home, Json, app, print_json

if TYPE_CHECKING:
    from raybrain.download.run import Download

studies = typer.Typer(name="studies", help="Download studies, and look at them.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(studies)

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="as in data.studies, like schoffelen2019:audio")]
Only = Annotated[str | None, typer.Option(metavar="GLOB", help="only files whose path is like this; quote it")]


@studies.command()
def fetch(
    study: StudyName,
    only: Only = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="download nothing, say what would be")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=32, help="files at a time")] = 4,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Download a study, or what is missing of it; the same command again goes on where it was."""
    from raybrain.cluster import Cluster, home_folder
    from raybrain.studies.base import Study

    chosen, cache = Study.parse(study), Cluster(home=home_folder(home)).cache
    if not chosen.hosts:
        root = chosen.fetch(cache)
        typer.echo(f"{chosen.name} is not downloaded; it lies in {root}")
        print_json(as_json, {"study": chosen.name, "folder": str(root)})
        return
    download = replace(chosen.download(cache), jobs=jobs)
    if only:
        download = replace(download, wanted=lambda path: chosen.wanted(path) and fnmatch(path, only))
    if dry_run:
        print_json(as_json, _show_survey(download))
        return
    own = download.own()
    typer.echo(f"{chosen.name} {'is your own copy' if own else 'is there'}: {download.fetch()}")
    print_json(as_json, {"study": chosen.name, "folder": str(download.folder), "own": own})


def _show_survey(download: "Download") -> dict[str, Any]:
    """Print what each host offers, and what of it is missing."""
    from raybrain.download.run import free_bytes
    from raybrain.download.unpack import told

    found, free = download.survey(), free_bytes(download.folder)
    for host in found:
        missing = [file for file in host["files"] if not file["there"]]
        for file in host["files"]:
            much = "size not known" if file["bytes"] is None else told(file["bytes"])
            typer.echo(f"{much:>14}  {'there  ' if file['there'] else 'missing'}  {file['path']}")
        host["bytes"], host["missing_bytes"] = (sum(file["bytes"] or 0 for file in part) for part in (host["files"], missing))
        host["missing"] = len(missing)
        typer.echo(
            f"{host['host']}: {host['error']}"
            if host["error"]
            else f"{host['host']}: {len(host['files'])} files, {told(host['bytes'])}; {len(missing)} missing, "
            f"{told(host['missing_bytes'])}"
        )
    typer.echo(f"{download.folder}: {told(free)} free{'; your own copy, nothing is downloaded' if download.own() else ''}")
    return {"study": download.study, "folder": str(download.folder), "free_bytes": free, "own": download.own(), "hosts": found}
