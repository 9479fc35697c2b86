"""What `reptile_speed.py` has to show: ratios of speeds measured in turns, and memory."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

import pandas as pd

_JAX = ("jax_autograd", "jax_written_out")


class _Claim(NamedTuple):
    """That ours is at least so many times as fast as the best of the others, on the CPU."""

    text: str
    num_tasks: int
    others: tuple[str, ...]
    asked: float
    width: int = 32
    threads: int = 1


CLAIMS = (
    _Claim("T = 10, over one task at a time", 10, ("one_at_a_time",), 60),
    _Claim("T = 64, over the best JAX form", 64, _JAX, 1),
    _Claim("T = 512, over the best JAX form", 512, _JAX, 1.5),
    _Claim("T = 4096, over the best JAX form", 4096, _JAX, 1.5),
    _Claim("T = 512, over the fused C++ loop", 512, ("cpp",), 0.55),
    _Claim("T = 4096, over the fused C++ loop", 4096, ("cpp",), 0.55),
    _Claim("T = 64, width 128, over the best JAX form", 64, _JAX, 1.8, width=128),
    _Claim("T = 512, two threads over one", 512, ("compiled_on_one_thread",), 1.6, threads=2),
)
_MOST_MIB = 1024.0
_COLUMNS = ["what", "asked", "measured", "lowest", "highest", "met"]


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each claim whose rows are there: what is asked, and median and range of repeats."""
    found = []
    for claim in CLAIMS:
        own = rows[
            (rows["num_tasks"] == claim.num_tasks)
            & (rows["width"] == claim.width)
            & (rows["threads"] == claim.threads)
            & (rows["device"] == "cpu")
        ].pivot(index="repeat", columns="implementation", values="steps_per_second")
        others = [name for name in claim.others if name in own]
        if not others:
            continue
        best = own[others].median().idxmax()
        ratio = own[_ours(own)] / own[best]
        measured = ratio.median()
        asked, met = f"at least {claim.asked:g}", measured >= claim.asked
        found.append((claim.text, asked, measured, ratio.min(), ratio.max(), met))
    return pd.DataFrame(found + _memory(rows), columns=_COLUMNS)


def _ours(measured: Container[str]) -> str:
    """What meta-training uses."""
    return "compiled" if "compiled" in measured else "written_out"


def _memory(rows: pd.DataFrame) -> list[tuple[str, str, float, float, float, bool]]:
    """The peak at T = 4096, and how it grows from T = 512."""
    ours = rows[(rows["implementation"] == _ours(set(rows["implementation"])))]
    ours = ours[ours["device"] == "cpu"]
    peaks = ours[ours["threads"] == 1].groupby(["width", "num_tasks"])["peak_mib"].first()
    found = []
    for width in peaks.index.levels[0]:
        if {512, 4096} <= set(peaks[width].index):
            few, many = peaks[width, 512], peaks[width, 4096]
            text = f"width {width}, T = 4096"
            met = many < _MOST_MIB
            found.append((f"MiB, {text}", f"under {_MOST_MIB:g}", many, many, many, met))
            ratio, text = many / few, f"memory, {text} over T = 512"
            # Linear is 8, as far as a peak can be measured.
            found.append((text, "at most 8, to 1%", ratio, ratio, ratio, ratio <= 8.08))
    return found
