"""`metabo info`: what a Prior was trained on, and what was chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metabo.commands.terminal import print_json, print_table, shown
from metabo.prior import Prior
from metabo.space import InputSpace


def info(path: Path, *, as_json: bool) -> None:
    """Print it."""
    prior = Prior.load(path)
    facts = describe(prior)
    if as_json:
        print_json(facts)
        return
    print_table(f"{path}", ("input", "values", "scale"), _inputs(prior.space))
    print_table("Learned from the runs, in the unit of the output", ("", ""), _summary(facts))
    if evidence := facts["evidence"]:
        title = "Log evidence of left-out tasks by the number of components, larger is better"
        print_table(title, list(evidence), [list(evidence.values())])


def describe(prior: Prior) -> dict[str, Any]:
    """What is known of a Prior, JSON-able; numbers in the user's units."""
    provenance, scale = prior.provenance, prior.output_scale
    chosen = provenance.get("chosen", {})
    weights = prior.mixture.log_weights.exp()
    sign = -1.0 if prior.minimize else 1.0
    return {
        "digest": prior.digest,
        "table": provenance.get("table"),
        "family": provenance.get("family", {}).get("kind"),
        "data": provenance.get("data", {}),
        "space": prior.space.to_json(),
        "minimize": prior.minimize,
        "output_mean": sign * prior.output_offset,
        "output_sd": scale,
        "components": int((~prior.mixture.is_broad).sum()),
        "broad_share": float(weights[prior.mixture.is_broad].sum()),
        "levels": chosen.get("levels"),
        "noise_sd": scale * chosen["noise_sd"] if "noise_sd" in chosen else None,
        "remainder_sd": scale * chosen["remainder_sd"] if "remainder_sd" in chosen else None,
        "evidence": chosen.get("evidence", {}),
        "seed": provenance.get("seed"),
        "seconds": provenance.get("seconds"),
        "software": provenance.get("software", {}),
    }


def _inputs(space: InputSpace) -> list[tuple[str, str, str]]:
    rows = []
    for i, name in enumerate(space.names):
        if name in space.categories:
            rows.append((name, ", ".join(map(str, space.categories[name])), "choices"))
            continue
        low, high = space.bounds[:, i].tolist()
        scale = "log" if i in space.log_dims else "linear"
        kind = ", whole" if i in space.integer_dims else ""
        rows.append((name, f"{shown(low)} to {shown(high)}", scale + kind))
    return rows


def _summary(facts: dict[str, Any]) -> list[tuple[str, str]]:
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
        "components": facts["components"],
        "share that is broad": facts["broad_share"],
        "seed": facts["seed"],
        "training took (s)": facts["seconds"],
        "metabo": facts["software"].get("metabo"),
        "digest": facts["digest"][:16],
    }
    return [(name, shown(value)) for name, value in rows.items() if value is not None]
