"""`metabo info`: what a Prior was trained on, and what was chosen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from metabo.commands.terminal import console, print_json, print_table, shown
from metabo.pages.slices import average
from metabo.prior import Prior
from metabo.surrogates import MixturePriorGP

_BARS = "▁▂▃▄▅▆▇█"


def info(path: Path, *, as_json: bool) -> None:
    """Print it."""
    prior = Prior.load(path)
    facts = describe(prior)
    if as_json:
        print_json(facts)
        return
    header = ("input", "values", "scale", f"expected {_output(facts)}, from low to high")
    pictures = facts["expected"]
    rows = [(*row, _picture(pictures.get(row[0], []), pictures)) for row in input_rows(prior)]
    print_table(f"{path}", header, rows)
    print_table("Learned from the runs, in the unit of the output", ("", ""), summary_rows(facts))
    if (left_out := facts["left_out"]) is not None:
        console().print(
            f"On tasks left out of training, {left_out['points']:.3g} observations of each: "
            "predicted as well as by a normal distribution with a standard deviation of "
            f"{shown(left_out['error'])}; with all runs alike it would be "
            f"{shown(facts['output_sd'])}"
        )


def _output(facts: dict[str, Any]) -> str:
    return (facts["table"] or {}).get("output") or "output"


def _picture(heights: list[float], all_heights: dict[str, list[float]]) -> str:
    """Bars on one scale for all inputs."""
    every = [height for each in all_heights.values() for height in each]
    low, high = min(every, default=0.0), max(every, default=0.0)
    width = (high - low) or 1.0
    return "".join(_BARS[round((h - low) / width * (len(_BARS) - 1))] for h in heights)


def describe(prior: Prior) -> dict[str, Any]:
    """What is known of a Prior, JSON-able; numbers in the user's units."""
    provenance, middle = prior.provenance, prior.to_user(prior.mixture.means.new_zeros(()))
    scale = float((-prior.log_slope(middle)).exp())  # what a model unit is there
    chosen = provenance.get("chosen", {})
    weights = prior.mixture.log_weights.exp()
    empty = prior.space.bounds[:0]
    expected = average(MixturePriorGP(empty, empty[:, :1], prior), sign=prior.sign)
    return {
        "digest": prior.digest,
        "table": provenance.get("table"),
        "family": provenance.get("family", {}).get("kind"),
        "data": provenance.get("data", {}),
        "space": prior.space.to_json(),
        "minimize": prior.minimize,
        "expected": {name: heights.tolist() for name, heights in expected.items()},
        "left_out": _left_out(provenance),
        "output_mean": prior.sign * float(middle),
        "output_sd": scale,
        "components": int((~prior.mixture.is_broad).sum()),
        "broad_share": float(weights[prior.mixture.is_broad].sum()),
        "levels": chosen.get("levels"),
        "shifts": chosen.get("shifts"),
        "warp": chosen.get("warp"),
        "known_points": len(prior.known_points),
        "noise_sd": scale * chosen["noise_sd"] if "noise_sd" in chosen else None,
        "remainder_sd": scale * chosen["remainder_sd"] if "remainder_sd" in chosen else None,
        "evidence": chosen.get("evidence", {}),
        "seed": provenance.get("seed"),
        "seconds": provenance.get("seconds"),
        "software": provenance.get("software", {}),
        "metabo": provenance.get("software", {}).get("metabo"),
    }


def _left_out(provenance: dict[str, Any]) -> dict[str, float] | None:
    """How well observations of left-out tasks were predicted, None where it is not known.

    The error is the standard deviation of the normal distribution with the same mean log density.
    """
    chosen = provenance.get("chosen", {})
    evidence = chosen.get("evidence", {}).get(str(chosen.get("num_components")))
    points = (provenance.get("table") or {}).get("left_out_points")
    if evidence is None or not points:
        return None
    log_density = evidence / points
    error = math.exp(-log_density - 0.5) / math.sqrt(2 * math.pi)
    return {"points": points, "log_density": log_density, "error": error}


def input_rows(prior: Prior) -> list[tuple[str, str, str]]:
    """Name, values and scale of each input."""
    rows, space = [], prior.space
    for i, name in enumerate(space.names):
        if name in space.categories:
            rows.append((name, ", ".join(map(str, space.categories[name])), "choices"))
            continue
        low, high = space.bounds[:, i].tolist()
        scale = "log" if i in space.log_dims else "linear"
        kind = ", whole" if i in space.integer_dims else ""
        rows.append((name, f"{shown(low)} to {shown(high)}", scale + kind))
    return rows


def summary_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What was learned, as people read it."""
    data, table = facts["data"], facts["table"] or {}
    rows = {
        "output": table.get("output"),
        "direction": "to minimise" if facts["minimize"] else "to maximise",
        "trained on": f"{data.get('num_observations', '?')} runs of {data.get('num_tasks', '?')} "
        f"tasks ({table.get('file') or facts['family']})",
        "output of the runs": f"{shown(facts['output_mean'])} +- {shown(facts['output_sd'])}",
        "noise (sd)": facts["noise_sd"],
        "what tasks do not share (sd)": facts["remainder_sd"],
        "tasks have levels of their own": facts["levels"],
        "outputs are warped": facts["warp"] is not None,
        "tasks were seen shifted, too": facts["shifts"] is not None,
        "points with effects of their own": facts["known_points"],
        "components": facts["components"],
        "share that is broad": facts["broad_share"],
        "seed": facts["seed"],
        "training took (s)": facts["seconds"],
        "metabo": facts["metabo"],
        "digest": facts["digest"][:16],
    }
    return [(name, shown(value)) for name, value in rows.items() if value is not None]
