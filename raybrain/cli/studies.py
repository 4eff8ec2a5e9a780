"""Commands for studies: fetch, check."""

from dataclasses import asdict, replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybrain.cli.common import Address, Home, Json, Where, app, changes_of, console, make_cluster, print_json

if TYPE_CHECKING:
    from raybrain.download.fetch import Download
    from raybrain.prepare.survey import Survey
    from raybrain.studies.base import Study

studies = typer.Typer(name="studies", help="Download studies, and look at them.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(studies)

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="as in data.studies, like schoffelen2019:audio")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="settings of the study, like subjects=01,02", show_default=False),
]
Only = Annotated[str | None, typer.Option(metavar="GLOB", help="only files whose path is like this; quote it")]


@studies.command()
def fetch(
    study: StudyName,
    settings: Settings = None,
    only: Only = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="download nothing, say what would be")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=32, help="files at a time")] = 4,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Download a study, or what is missing of it; the same command again goes on where it was."""
    from raybrain.cluster import Cluster, home_folder
    from raybrain.config import override
    from raybrain.identity import locate
    from raybrain.studies.base import Study

    cluster = Cluster(home=home_folder(home))
    chosen, cache = locate(override(Study.parse(study), changes_of(settings)), cluster.home), cluster.cache
    if not chosen.hosts:
        root = chosen.fetch(cache)
        typer.echo(f"{chosen.name} is not downloaded; it lies in {root}")
        print_json(as_json, {"study": chosen.name, "folder": str(root)})
        return
    download = replace(chosen.download(cache), jobs=jobs)
    if only:
        download = replace(download, wanted=lambda path: chosen.wanted(path) and fnmatch(path, only))
    if dry_run:
        found = _show_survey(download)
        print_json(as_json, found)
        if all(host["error"] for host in found["hosts"]):
            raise typer.Exit(1)
        return
    own = download.own()
    typer.echo(f"{chosen.name} {'is your own copy' if own else 'is there'}: {download.fetch()}")
    print_json(as_json, {"study": chosen.name, "folder": str(download.folder), "own": own})


def _show_survey(download: "Download") -> dict[str, Any]:
    """Print what each host offers, and what of it is missing."""
    from raybrain.download.fetch import free_bytes
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


@studies.command()
def check(
    study: StudyName,
    settings: Settings = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Read every recording's header and events; say what is missing, short or odd, and exit 1 if anything is."""
    from raybrain.config import override
    from raybrain.prepare import survey as checking
    from raybrain.report.terminal import check_table
    from raybrain.studies.base import Study

    asked = override(Study.parse(study), changes_of(settings))
    report = checking.run(asked, make_cluster(home, where, address=address))
    found = _told(asked, report)
    console().print(check_table(f"{asked.name} in {report.root}", found["recordings"]))
    typer.echo(", ".join(f"{value:g} {key}" for key, value in found["totals"].items()))
    if report.plan:
        typer.echo("splits: " + ", ".join(f"{count} {split}" for split, count in found["blocks"].items()) + " blocks")
    for leak in [*found["sentences_in_two_splits"], *found["audio_in_two_splits"]]:
        typer.echo(f"in two splits: {leak}")
    for problem in report.problems:
        typer.echo(f"problem: {problem}")
    typer.echo(f"{report.wrong} problems" if report.wrong else "nothing is wrong")
    print_json(as_json, found)
    if report.wrong:
        raise typer.Exit(1)


def _told(study: "Study", report: "Survey") -> dict[str, Any]:
    """The whole report as plain data."""
    from collections import Counter

    rows = [asdict(looked) for looked in report.recordings]
    plan = report.plan
    blocks = Counter(block.split for story in plan.blocks.values() for block in story) if plan else Counter()
    totals = {"recordings": len(rows), "hours": round(sum(row["seconds"] for row in rows) / 3600, 3)}
    totals |= {name: sum(row[name] for row in rows) for name in ("sounds", "words", "sentences", "phonemes")}
    return {
        "study": study.name,
        "root": str(report.root),
        "facts": {**asdict(study.facts), "excluded": dict(study.facts.excluded)},
        "recordings": rows,
        "problems": report.problems,
        "totals": totals | ({"stimuli": len(plan.stimuli)} if plan else {}),
        "blocks": dict(sorted(blocks.items())),
        "sentences_in_two_splits": plan.sentences_in_two_splits if plan else [],
        "audio_in_two_splits": plan.audio_in_two_splits if plan else [],
        "wrong": report.wrong,
    }
