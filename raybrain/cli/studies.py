"""Commands for studies: studies check."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raybrain.cli.common import Address, Home, Json, Settings, Where, app, changes_of, console, make_cluster, print_json

if TYPE_CHECKING:
    from raybrain.prepare.check import Report
    from raybrain.studies.base import Study

studies = typer.Typer(help="Look after the recordings themselves.", no_args_is_help=True)
app.add_typer(studies, name="studies")

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="a study, see `raybrain list studies`; for one, bids:PATH")]


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
    from raybrain.prepare import check as checking
    from raybrain.report.tables import check_table
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


def _told(study: "Study", report: "Report") -> dict[str, Any]:
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
