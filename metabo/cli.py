"""The command line: parsing only; `metabo.commands` does the work.

A command imports what it needs when it is run, so that none waits for the packages of another.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from metabo import __version__
from metabo.seed import LARGEST_SEED

if TYPE_CHECKING:
    from metabo.commands.observations import Limit
    from metabo.commands.runs import Runs


class _PlainErrors(TyperGroup):
    """Bad input is one message on the standard error and exit code 2, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except OSError as error:
            message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        except (ValueError, ImportError) as error:
            message = str(error)
        except RuntimeError as error:
            if not _is_of_the_input(error):
                raise
            message = str(error)
        typer.echo(f"error: {message}", err=True)
        raise typer.Exit(2)


def _is_of_the_input(error: RuntimeError) -> bool:
    from metabo.acquisition_search import ExhaustedError
    from metabo.meta_training.reptile import DivergedError

    return isinstance(error, ExhaustedError | DivergedError)


app = typer.Typer(
    cls=_PlainErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

RunsFile = Annotated[
    Path, typer.Argument(metavar="RUNS", help="Earlier runs: CSV or Parquet; - is standard input.")
]
Task = Annotated[str, typer.Option(help="The column that tells tasks apart.")]
Output = Annotated[str, typer.Option(help="The column of what was measured.")]
Inputs = Annotated[
    str | None, typer.Option(help="The columns of the inputs, A,B,...; default: all others.")
]
Minimize = Annotated[bool, typer.Option("--minimize", help="A smaller output is better.")]
Space = Annotated[
    Path | None,
    typer.Option(
        help="A JSON file with types and ranges of inputs, where the values are no guide: "
        '{"rate": {"low": 1e-5, "high": 1, "log": true}, "depth": {"low": 1, "high": 9, '
        '"integer": true}, "kernel": ["rbf", "linear"]}.'
    ),
]


Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed gives the same result.")
]
OutputToo = Annotated[
    str | None, typer.Option(help="The column of what was measured; default: as in training.")
]
Direction = Annotated[
    bool | None,
    typer.Option("--minimize/--maximize", help="The direction; default: as in training."),
]
Constraints = Annotated[
    list[str] | None,
    typer.Option(
        help="What a further output has to be, 'PRIOR<=VALUE' or 'PRIOR>=VALUE', where PRIOR "
        "is the file of a prior that was trained on that output; repeatable."
    ),
]
Candidates = Annotated[
    Path | None, typer.Option(help="A table of the only points that may be suggested.")
]
Smoke = Annotated[bool, typer.Option("--smoke", help="Tiny sizes: does it run at all?")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def _runs(
    runs: Path, task: str, output: str, inputs: str | None, minimize: bool, space: Path | None
) -> Runs:
    from metabo.commands.runs import Runs

    names = None if inputs is None else tuple(name.strip() for name in inputs.split(","))
    return Runs(runs, task, output, names, minimize, space)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"metabo {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Say the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Few-shot Bayesian optimisation with priors meta-learned from earlier runs.

    - `metabo check runs.csv --task batch --output yield`: is the table fit for it?
    - `metabo compare runs.csv --task batch --output yield`: is a prior worth it?
    - `metabo train runs.csv --task batch --output yield -o prior.safetensors`: learn a prior
    - `metabo suggest prior.safetensors today.csv`: what to evaluate next
    - `metabo report prior.safetensors today.csv -o page.html`: a page to look at

    `--json` prints JSON for programs. Exit code 0: done; 2: the input is at fault, and a message on
    the standard error says how; 1: a bug in metabo; please report the traceback.
    """


@app.command()
def check(
    runs: RunsFile,
    task: Task,
    output: Output,
    inputs: Inputs = None,
    minimize: Minimize = False,
    space: Space = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong or doubtful in a table of earlier runs; exit code 2 if anything is wrong.

    - `metabo check runs.csv --task batch --output yield`
    """
    from metabo.commands.check import check as run_check

    if not run_check(_runs(runs, task, output, inputs, minimize, space), as_json=as_json):
        raise typer.Exit(2)


@app.command()
def train(
    runs: RunsFile,
    task: Task,
    output: Output,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of the prior.")],
    inputs: Inputs = None,
    minimize: Minimize = False,
    space: Space = None,
    seed: Seed = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a training that was killed.")
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="A folder for training curves in TensorBoard.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto is a GPU where there is one; else cpu, cuda or cuda:1.")
    ] = "auto",
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Learn a prior from a table of earlier runs: one row for each measurement.

    - `metabo train runs.csv --task batch --output yield -o prior.safetensors`
    - `metabo train runs.parquet --task dataset --output loss --minimize -o p.safetensors`
    """
    from metabo.commands.train import train as run_train

    table = _runs(runs, task, output, inputs, minimize, space)
    run_train(
        table,
        out,
        seed=seed,
        resume=resume,
        smoke=smoke,
        tensorboard=tensorboard,
        device=device,
        as_json=as_json,
    )


@app.command()
def info(
    prior: Annotated[Path, typer.Argument(metavar="PRIOR", help="The file of the prior.")],
    as_json: Json = False,
) -> None:
    """Say what a prior was trained on, and what was chosen on left-out tasks.

    - `metabo info prior.safetensors`
    """
    from metabo.commands.info import info as run_info

    run_info(prior, as_json=as_json)


@app.command()
def suggest(
    prior: Annotated[Path, typer.Argument(metavar="PRIOR", help="The file of the prior.")],
    observations: Annotated[
        Path | None,
        typer.Argument(
            metavar="OBSERVATIONS",
            help="What was measured on the new task: CSV or Parquet, - is standard input. Columns "
            "may be in any order and more than are needed; a row without a value is under way. Or "
            "the journal of a session.",
        ),
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            "--count", "-n", min=1, help="How many suggestions, to evaluate side by side."
        ),
    ] = 1,
    output: OutputToo = None,
    minimize: Direction = None,
    fix: Annotated[
        list[str] | None, typer.Option(help="An input that has to be so, NAME=VALUE; repeatable.")
    ] = None,
    constraint: Constraints = None,
    candidates: Candidates = None,
    seed: Seed = 0,
    as_json: Json = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write a table: .csv or .parquet; - is standard output."),
    ] = None,
) -> None:
    """Suggest what to evaluate next, and say why.

    - `metabo suggest prior.safetensors`: nothing measured yet
    - `metabo suggest prior.safetensors today.csv -n 4 -o next.csv`
    - `metabo suggest prior.safetensors today.csv --fix solvent=water --json`
    - `metabo suggest yield.safetensors today.csv --constraint 'toxicity.safetensors<=0.2'`

    Of an evaluation that failed, the cell of the measured value says `failed`.
    """
    from metabo.commands.observations import Observations
    from metabo.commands.suggest import suggest as run_suggest

    run_suggest(
        prior,
        Observations(
            observations,
            output,
            minimize,
            [_limit(text) for text in constraint or []],
            candidates,
            seed,
        ),
        count=count,
        fixed=dict(_pair(text) for text in fix or []),
        as_json=as_json,
        out=out,
    )


@app.command()
def report(
    prior: Annotated[Path, typer.Argument(metavar="PRIOR", help="The file of the prior.")],
    observations: Annotated[
        Path | None,
        typer.Argument(
            metavar="OBSERVATIONS",
            help="What was measured on the new task: the journal of a session, which may be in "
            "use, or a table as for `suggest`.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of the page.")] = Path(
        "report.html"
    ),
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many suggestions.")] = 1,
    output: OutputToo = None,
    minimize: Direction = None,
    constraint: Constraints = None,
    candidates: Candidates = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a page on a prior and what was measured: one HTML file that needs no network.

    - `metabo report prior.safetensors -o prior.html`
    - `metabo report prior.safetensors session.jsonl -o session.html`
    """
    from metabo.commands.observations import Observations
    from metabo.commands.prior_page import prior_page
    from metabo.table_file import needs_extra

    limits = [_limit(text) for text in constraint or []]
    told = Observations(observations, output, minimize, limits, candidates, seed)
    with needs_extra("report"):
        prior_page(prior, told, out, count=count, as_json=as_json)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"--fix {text}: write NAME=VALUE")
    return name.strip(), value.strip()


def _limit(text: str) -> Limit:
    from metabo.commands.observations import Limit

    path, sign, value = re.fullmatch(r"(.*?)\s*(?:(<=|>=)\s*(.*))?", text, re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        return Limit(Path(path), is_upper=sign == "<=", value=float(value))
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(
            f"--constraint {text}: write 'PRIOR<=VALUE' or 'PRIOR>=VALUE'"
        ) from error


@app.command()
def compare(
    runs: RunsFile,
    task: Task,
    output: Output,
    inputs: Inputs = None,
    minimize: Minimize = False,
    space: Space = None,
    evaluations: Annotated[
        int, typer.Option(min=1, help="How many evaluations each search gets.")
    ] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="How many searches on each task.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="How many processes.")] = 2,
    seed: Seed = 0,
    smoke: Smoke = False,
    as_json: Json = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write every row: .csv or .parquet.")
    ] = None,
) -> None:
    """Say whether a prior is worth it: tasks are left out of training and optimised anew.

    Compared with a Gaussian process without a prior, and with random search. Takes minutes; of very
    many runs a random part is compared.

    - `metabo compare runs.csv --task batch --output yield`
    """
    from metabo.commands.compare import compare as run_compare

    run_compare(
        _runs(runs, task, output, inputs, minimize, space),
        evaluations=evaluations,
        repeats=repeats,
        seed=seed,
        jobs=jobs,
        smoke=smoke,
        as_json=as_json,
        out=out,
    )


@app.command()
def results(
    rows: Annotated[
        list[Path],
        typer.Argument(
            metavar="ROWS...", help="Folders of experiments, or files of rows: CSV or Parquet."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.")] = Path("results.html"),
    title: Annotated[str | None, typer.Option(help="What is written above it.")] = None,
) -> None:
    """Make one page of tables, tests and figures from the rows of optimisation benchmarks.

    - `metabo results experiments/results/bo_hpobench -o page.html`
    """
    from metabo.commands.results import results as run_results
    from metabo.table_file import needs_extra

    with needs_extra("bench"):
        run_results(rows, title=title, out=out)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder for tables, figures and the prior.")
    ] = Path("runs/demo"),
    seed: Seed = 0,
    smoke: Smoke = False,
) -> None:
    """Learn priors and compare on logistic curves and three real data sets; some 5 minutes.

    - `metabo demo --smoke -o demo`
    """
    from metabo.table_file import needs_extra

    with needs_extra("demo"):
        from metabo.benchmark.demo import DemoSettings, run_demo

        run_demo(DemoSettings.smoke() if smoke else DemoSettings(), seed=seed, out=out)
