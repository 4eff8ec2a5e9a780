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
    from raybrain.download.unpack import amount

    hosts = []
    for offer in download.survey():
        missing = {file.path for file in offer.missing}
        for file in offer.files:
            much = "size not known" if file.bytes is None else amount(file.bytes)
            typer.echo(f"{much:>14}  {'missing' if file.path in missing else 'there  '}  {file.path}")
        has = f"{len(offer.files)} files, {amount(offer.bytes())}"
        lacks = f"{len(missing)} missing, {amount(offer.bytes(missing=True))}"
        typer.echo(f"{offer.host}: {offer.error or f'{has}; {lacks}'}")
        files = [{"path": file.path, "bytes": file.bytes, "there": file.path not in missing} for file in offer.files]
        hosts.append({"host": offer.host, "error": offer.error, "files": files, "missing_bytes": offer.bytes(missing=True)})
    own, free = download.own(), free_bytes(download.folder)
    typer.echo(f"{download.folder}: {amount(free)} free{'; your own copy, nothing is downloaded' if own else ''}")
    return {"study": download.study, "folder": str(download.folder), "free_bytes": free, "own": own, "hosts": hosts}
