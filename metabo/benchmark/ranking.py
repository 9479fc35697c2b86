"""Which methods differ by more than chance: the critical-difference diagram [Demsar2006]_.

Friedman's test over all methods, then Wilcoxon's signed-rank test between every two, with Holm's
correction, as [Benavoli2016]_ recommend; or Nemenyi's test, where there are so many methods for so
few tasks that no result of Wilcoxon's could be clear.

.. [Benavoli2016] A. Benavoli, G. Corani, F. Mangili. Should We Really Use Post-Hoc Tests Based on
   Mean-Ranks? Journal of Machine Learning Research 17, 2016.
.. [Demsar2006] J. Demsar. Statistical Comparisons of Classifiers over Multiple Data Sets. Journal
   of Machine Learning Research 7, 2006.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from metabo.benchmark.scores import num_tasks, over_tasks, regrets

_ENOUGH = 6  # blocks: with fewer, Wilcoxon's test cannot be significant
_CLEAR = 0.05


@dataclass(frozen=True, eq=False)
class Ranking:
    """Mean ranks, and which differences are clear.

    Attributes:
        ranks: The mean rank of each method, the best first.
        p: The p that two methods are alike, for every two, all tests taken into account.
        test: Which test that is.
        friedman: The p that all methods are alike.
        blocks: How many tasks (or runs) were compared.
        unit: What a block is, "tasks" or "runs".
    """

    ranks: pd.Series
    p: pd.DataFrame
    test: str
    friedman: float
    blocks: int
    unit: str


def rank_methods(found: pd.DataFrame, n: int) -> Ranking | None:
    """Compare all methods after n evaluations; None with fewer than three, or too few blocks.

    Blocks are tasks, their seeds averaged; where there are fewer than six tasks they are runs,
    which flatters: seeds of one task are not independent.

    Args:
        found: From `scores.curves`.
        n: How many evaluations.
    """
    runs = regrets(found, n)
    runs = runs.fillna(runs.max().max())  # what failed is worst
    blocks, unit = runs, "runs"
    if num_tasks(runs) >= _ENOUGH:
        blocks, unit = over_tasks(runs), "tasks"
    if len(blocks) < _ENOUGH or len(blocks.columns) < 3:
        return None
    ranks = blocks.rank(axis=1).mean().sort_values()
    friedman = float(stats.friedmanchisquare(*blocks.to_numpy().T).pvalue)
    pairs = math.comb(len(blocks.columns), 2)
    clear = pairs * 2.0 ** (1 - len(blocks)) < _CLEAR  # if one method is better in all blocks
    p = _wilcoxon(blocks) if clear else _nemenyi(blocks)
    test = "Wilcoxon's test with Holm's correction" if clear else "Nemenyi's test"
    return Ranking(ranks, p, test, friedman, len(blocks), unit)


def _nemenyi(blocks: pd.DataFrame) -> pd.DataFrame:
    import scikit_posthocs

    p = scikit_posthocs.posthoc_nemenyi_friedman(blocks.to_numpy())
    return pd.DataFrame(p.to_numpy(), index=blocks.columns, columns=blocks.columns)


def _wilcoxon(blocks: pd.DataFrame) -> pd.DataFrame:
    import scikit_posthocs

    # Methods that agree everywhere have no differences to test, for which p is 1.
    long = blocks.melt(var_name="method", value_name="regret")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        p = scikit_posthocs.posthoc_wilcoxon(
            long, val_col="regret", group_col="method", p_adjust="holm", zero_method="zsplit"
        )
    return p.fillna(1.0).loc[list(blocks.columns), list(blocks.columns)]
