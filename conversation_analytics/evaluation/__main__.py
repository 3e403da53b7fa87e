"""Print how good the language parts are: `python -m conversation_analytics.evaluation --help`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conversation_analytics.core.errors import AnalyticsError, EvaluationDataError
from conversation_analytics.evaluation import sections
from conversation_analytics.evaluation.labelled_files import Task, read_labelled
from conversation_analytics.evaluation.qualities import Quality, table

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRONG = 2
_NEED = {
    "ntrex": "languages of news, which need a folder `ntrex`",
    "sgd": "intents, out of scope and topics, which need a folder `sgd`",
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder with the sets `ntrex` or `sgd` in it."
)
@click.option(
    "--labelled", type=click.Path(path_type=Path),
    help="CSV or JSON lines with text, label and perhaps language; measures this file alone.",
)  # fmt: skip
@click.option("--task", type=click.Choice([one.value for one in Task]), help="What its labels say.")
@click.option("--examples", default=10, type=click.IntRange(1), show_default=True,
              help="Of intents: examples of each label to train on.")  # fmt: skip
@click.option("--rounds", default=12, type=click.IntRange(1), show_default=True,
              help="Of made-up personal data: values of each kind and language.")  # fmt: skip
def evaluate(
    data: Path | None, labelled: Path | None, task: str | None, examples: int, rounds: int
) -> None:
    """Print the quality of languages, categories, topics, sentiment and personal data.

    Without options made-up texts are measured. What is measured was not trained or tuned on; the
    last column says how.
    """
    if (labelled is None) != (task is None):
        raise click.UsageError(
            "expected --labelled and --task together, got one; give both (make: LABELLED=, TASK=)"
        )
    if labelled is not None and task is not None:
        rows = read_labelled(labelled, Task(task))
        click.echo(table(sections.labelled_file(rows, Task(task), examples)))
        return
    missed = 0
    for title, rows_of in _sections(data, rounds):
        click.echo(f"## {title}\n\n{table(rows_of)}")
        missed += sum(not row.reached for row in rows_of)
    click.echo(f"{missed} figures below their goal." if missed else "Every goal is reached.")


def _sections(data: Path | None, rounds: int) -> Iterator[tuple[str, list[Quality]]]:
    names = ("ntrex", "sgd")
    present = {name: data / name for name in names if data is not None and (data / name).is_dir()}
    if data is not None and not present:
        raise EvaluationDataError(
            f"{data}: expected a folder with `ntrex` or `sgd` in it, got none of them; correct "
            "--data (make: DATA=), or leave it out to measure made-up texts alone"
        )
    yield "Languages, made-up", sections.made_up_languages()
    if "ntrex" in present:
        found, missing = sections.ntrex_languages(present["ntrex"])
        yield f"Languages, NTREX (not in it: {missing or 'none'})", found
    yield "One taxonomy for all languages", sections.default_taxonomy_across()
    if "sgd" in present:
        yield "Intents and topics, SGD", sections.sgd_categories(present["sgd"])
    yield "Sentiment, made-up", sections.made_up_sentiment()
    yield "Structured personal data, made-up", sections.made_up_personal_data(rounds)
    for name in names:
        if name not in present:
            click.echo(f"Not measured: {_NEED[name]}; give --data (make: DATA=).\n")


def main() -> None:
    """Run the command; an expected error is one plain sentence, exit code 2."""
    try:
        evaluate.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(_WRONG)
    except click.Abort:
        sys.exit(130)
    except AnalyticsError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(_WRONG)


if __name__ == "__main__":
    main()
