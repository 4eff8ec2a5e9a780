"""The commands ``raybrain studies fetch`` and ``raybrain studies check``."""

from dataclasses import asdict, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybrain.cli.common import Address, Home, Json, Where, app, changes_of, console, make_cluster, print_json, say

if TYPE_CHECKING:
    from raybrain.download.fetch import Download
    from raybrain.prepare.survey import Survey
    from raybrain.studies.base import Study

studies = typer.Typer(name="studies", help="Download and check studies.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(studies)

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="as in data.studies, like schoffelen2019:audio")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="settings of the study, like subjects=01,02", show_default=False),
]
Only = Annotated[str | None, typer.Option(metavar="GLOB", help="only files whose path matches; quote it")]


@studies.command()
def fetch(
    study: StudyName,
    settings: Settings = None,
    only: Only = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="download nothing, list what would be downloaded")] = False,
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
        say(f"{chosen.name} needs no download; it is in {root}")
        print_json(as_json, {"study": chosen.name, "folder": str(root)})
        return
    download = replace(chosen.download(cache), jobs=jobs)
    if only:
        download = replace(download, wanted=lambda path: chosen.wanted(path) and fnmatch(path, only))
    if dry_run:
        offers = _show_offers(download)
        print_json(as_json, offers)
        if all(host["error"] for host in offers["hosts"]):
            raise typer.Exit(1)
        return
    own = download.own()
    say(f"{chosen.name} {'is your own copy' if own else 'is downloaded'}: {download.fetch()}")
    print_json(as_json, {"study": chosen.name, "folder": str(download.folder), "own": own})


def _show_offers(download: "Download") -> dict[str, Any]:
    """Print what each host offers, and what of that is missing; returns the same as plain data."""
    from raybrain.download.fetch import free_bytes
    from raybrain.download.unpack import amount

    hosts = []
    for offer in download.survey():
        missing = {file.path for file in offer.missing}
        for file in offer.files:
            size = "size unknown" if file.bytes is None else amount(file.bytes)
            say(f"{size:>14}  {'missing' if file.path in missing else 'there  '}  {file.path}")
        offered = f"{len(offer.files)} files, {amount(offer.bytes())}"
        needed = f"{len(missing)} missing, {amount(offer.bytes(missing=True))}"
        say(f"{offer.host}: {offer.error or f'{offered}; {needed}'}")
        files = [{"path": file.path, "bytes": file.bytes, "there": file.path not in missing} for file in offer.files]
        hosts.append({"host": offer.host, "error": offer.error, "files": files, "missing_bytes": offer.bytes(missing=True)})
    own, free = download.own(), free_bytes(download.folder)
    say(f"{download.folder}: {amount(free)} free{'; your own copy, nothing is downloaded' if own else ''}")
    return {"study": download.study, "folder": str(download.folder), "free_bytes": free, "own": own, "hosts": hosts}


@studies.command()
def check(
    study: StudyName,
    settings: Settings = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 on what is only odd, too")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="also write it as a page, a row per recording")] = None,
    as_json: Json = False,
) -> None:
    """Read every recording's header and events; list what is missing, short or odd, and exit with 1 if anything is wrong."""
    from raybrain.config import override
    from raybrain.prepare.survey import survey_study
    from raybrain.report.terminal import check_table
    from raybrain.studies.base import Study

    chosen = override(Study.parse(study), changes_of(settings))
    survey = survey_study(chosen, make_cluster(home, where, address=address))
    report = _as_data(chosen, survey)
    console().print(check_table(f"{chosen.name} in {survey.root}", report["recordings"]))
    say(", ".join(f"{value:g} {key}" for key, value in report["totals"].items()))
    if survey.plan:
        say("splits: " + ", ".join(f"{count} {split}" for split, count in report["blocks"].items()) + " blocks")
    for leak in [*report["sentences_in_two_splits"], *report["audio_in_two_splits"]]:
        say(f"in two splits: {leak}")
    for out in survey.left_out:
        say(f"{'left out' if out.odd else 'not used'}: {out.path} {out.reason}")
    for problem in survey.problems:
        say(f"problem: {problem}")
    say((f"{survey.wrong} problems" if survey.wrong else "no problems") + (f", {survey.odd} odd" if survey.odd else ""))
    if html:
        from raybrain.report.check_page import check_page

        html.write_text(check_page(report), encoding="utf-8")
        say(f"page: {html}")
    print_json(as_json, report)
    if survey.wrong or (strict and survey.odd):
        raise typer.Exit(1)


def _as_data(study: "Study", survey: "Survey") -> dict[str, Any]:
    """The whole survey as plain data."""
    from collections import Counter

    rows = [asdict(recording) for recording in survey.recordings]
    plan = survey.plan
    blocks = Counter(block.split for story in plan.blocks.values() for block in story) if plan else Counter()
    totals = {"recordings": len(rows), "hours": round(sum(row["seconds"] for row in rows) / 3600, 3)}
    totals |= {name: sum(row[name] for row in rows) for name in ("sounds", "words", "sentences", "phonemes")}
    return {
        "study": study.name,
        "root": str(survey.root),
        "facts": {**asdict(study.facts), "excluded": dict(study.facts.excluded)},
        "recordings": rows,
        "problems": survey.problems,
        "left_out": [asdict(out) for out in survey.left_out],
        "totals": totals | ({"stimuli": len(plan.stimuli)} if plan else {}),
        "blocks": dict(sorted(blocks.items())),
        "sentences_in_two_splits": plan.sentences_in_two_splits if plan else [],
        "audio_in_two_splits": plan.audio_in_two_splits if plan else [],
        "wrong": survey.wrong,
        "odd": survey.odd,
    }
