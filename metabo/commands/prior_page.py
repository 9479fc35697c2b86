"""`metabo report`: a page on a Prior, and on what has been measured with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from metabo.atomic import replacing
from metabo.commands.info import describe, input_rows, summary_rows
from metabo.commands.observations import Observations
from metabo.commands.suggest import Suggestions, suggestions
from metabo.commands.terminal import note, print_json
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.surrogates import MixturePriorGP
from metabo.table_file import refuse_overwriting

_MOST_INPUTS = 12  # that have figures
_DRAWS = 12


def prior_page(
    path: Path, observations: Observations, out: Path, *, count: int, as_json: bool
) -> None:
    """Write the page."""
    refuse_overwriting(out, path, *observations.files)
    prior = Prior.load(path)
    optimizer, output = observations.tell(prior)
    found = suggestions(optimizer, output, count=count)
    page = _page(path.name, optimizer, found)
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    if as_json:
        print_json({"page": str(out), **found.to_json()})
    else:
        note(f"the page is in {out}")


def _page(name: str, optimizer: Optimizer, found: Suggestions) -> str:
    from metabo.pages.page import Sheet, render  # here, since the extra "report" is needed

    prior = optimizer.prior
    facts = describe(prior)
    first = found.points[0]
    at = prior.space.to_tensor(found.best[0] if found.best else first)[0]
    return render(
        "report.html.j2",
        title=f"{found.output} of a new task" if len(optimizer) else f"A prior of {found.output}",
        subtitle=f"{name}: {_trained_on(facts)}",
        cards=_cards(facts, found, optimizer),
        next=_next(found),
        next_words=_next_words(found, optimizer.minimize),
        notes=found.notes,
        posterior_words=_slice_words(found),
        prior_words="Functions that the prior holds likely before anything is measured on the new "
        "task: its mean, the 90% interval and some draws, along each input, with the other inputs "
        f"at {_point(prior, at)}.",
        left_out_words=_left_out_words(facts),
        left_out_bars=_left_out(facts, found.output),
        inputs=Sheet(("input", "values", "scale"), input_rows(prior)),
        facts=Sheet(("", ""), summary_rows(facts)),
        observations=_observed(optimizer, found.output) if len(optimizer) else None,
        settings=json.dumps(prior.provenance.get("settings", {}), indent=2),
        course_words="The measured values with the best so far; how much better the best point of "
        "all is expected to be; and which share of the posterior rests on the earlier runs.",
        **_figures(optimizer, at, found.output),
    )


def _figures(optimizer: Optimizer, at: Tensor, output: str) -> dict[str, list[str]]:
    from metabo.pages.course import course
    from metabo.pages.figures import course_panels, posterior_panel, prior_panel, span
    from metabo.pages.slices import slices

    prior, (X, Y) = optimizer.prior, optimizer.observations
    empty = MixturePriorGP(X[:0], Y[:0], prior)
    before = slices(empty, at, sign=prior.sign, num_draws=_DRAWS)[:_MOST_INPUTS]
    figures = {
        "prior_figures": [
            prior_panel(s, output, span(before), f"prior{i}") for i, s in enumerate(before)
        ],
        "posterior_figures": [],
        "course_figures": [],
    }
    if len(Y):
        now = slices(optimizer.model, at, sign=prior.sign)
        limits = span([*before, *now], Y)
        columns = [prior.space.names.index(s.name) for s in before]
        figures["posterior_figures"] = [
            posterior_panel(b, s, float(at[i]), X[:, i], Y[:, 0], output, limits, f"posterior{i}")
            for b, s, i in zip(before, now, columns, strict=False)
        ]
        figures["course_figures"] = course_panels(course(optimizer), Y[:, 0], output)
    return figures


def _trained_on(facts: dict[str, Any]) -> str:
    data, table = facts["data"], facts["table"] or {}
    source = f" in {table['file']}" if table.get("file") else ""
    return (
        f"learned from {data.get('num_observations', '?')} runs of {data.get('num_tasks', '?')} "
        f"tasks{source}"
    )


def _cards(facts: dict[str, Any], found: Suggestions, optimizer: Optimizer) -> list[Any]:
    from metabo.pages.page import Card, number

    cards = []
    if found.best is not None:
        word = "lowest" if optimizer.minimize else "highest"
        word += " of those that met the constraints" if optimizer.constraints else ""
        cards.append(Card(f"best {found.output} so far", number(found.best[1]), f"the {word}"))
    best = found.expected[0]
    cards.append(
        Card(
            f"{found.output} at the next point",
            number(best.mean),
            f"expected; 90%: {number(best.low)} to {number(best.high)}",
        )
    )
    cards.append(Card("observations", str(found.observations), f"{found.pending} more under way"))
    cards.append(
        Card(
            "rests on the earlier runs",
            f"{found.prior_weight:.0%}",
            "the rest allows for a task that is unlike them",
        )
    )
    if facts["left_out"] is not None:
        share = facts["left_out"]["error"] / facts["output_sd"]
        cards.append(
            Card("error on left-out tasks", f"{share:.0%}", "of what it is without the prior")
        )
    return cards


def _next(found: Suggestions) -> Any:
    from metabo.pages.page import Sheet

    header = [*found.points[0], f"expected {found.output}", "90% interval"]
    rows = [
        [*x.values(), e.mean, f"{e.low:.5g} to {e.high:.5g}"]
        for x, e in zip(found.points, found.expected, strict=True)
    ]
    return Sheet(header, rows)


def _next_words(found: Suggestions, minimize: bool) -> str:
    goal = "smaller" if minimize else "larger"
    if found.observations == 0:
        return (
            "Nothing has been measured yet: this is where the prior expects most "
            f"({goal} is better)."
        )
    return (
        f"Where the expected improvement over the best so far is largest; {goal} {found.output} is "
        "better. The interval is of the measurement, noise included."
    )


def _slice_words(found: Suggestions) -> str:
    where = "the best observation" if found.best else "the next point"
    return (
        f"{found.output} along each input, the other inputs as in {where}, beside what the prior "
        "held before any observation."
    )


def _point(prior: Prior, at: Tensor) -> str:
    from metabo.pages.page import number

    (point,) = prior.space.to_dicts(at[None])
    return ", ".join(f"{name} = {number(value)}" for name, value in point.items())


def _left_out(facts: dict[str, Any], output: str) -> list[Any]:
    from metabo.pages.page import bars

    left_out = facts["left_out"]
    if left_out is None:
        return []
    ours = f"with this prior, in {output}"
    values = {"without, all runs alike": facts["output_sd"], ours: left_out["error"]}
    if facts["noise_sd"] is not None:
        values["noise, which nothing can predict"] = facts["noise_sd"]
    return bars(values, ours)


def _left_out_words(facts: dict[str, Any]) -> str:
    if facts["left_out"] is None:
        return ""
    return (
        "Training tasks were left out of the training in turn, and "
        f"{facts['left_out']['points']:.3g} observations of each were predicted one after the "
        "other, each given those before. A bar is the standard deviation of a normal distribution "
        "that would have been as good."
    )


def _observed(optimizer: Optimizer, output: str) -> Any:
    from metabo.pages.page import Sheet

    X, Y = optimizer.observations
    names = list(optimizer.constraints)
    header = ["", *optimizer.prior.space.names, output, *names]
    rows = [
        [i, *x.values(), y, *others]
        for i, (x, y, others) in enumerate(
            zip(
                optimizer.prior.space.to_dicts(X),
                Y[:, 0].tolist(),
                optimizer.constrained.tolist(),
                strict=True,
            ),
            start=1,
        )
    ]
    return Sheet(header, rows)
