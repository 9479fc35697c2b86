"""Sessions: batches, pending and failed points, and going on from a journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from metabo.acquisition_search import ExhaustedError
from metabo.constraint import Constraint
from metabo.journal import JournalError
from metabo.optimizer import Optimizer
from metabo.prior import Prior
from metabo.space import SpaceError

Made = Callable[..., Prior]

pytestmark = pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")


def bowl(x: dict[str, float]) -> float:
    return 3 - (x["x1"] - 1) ** 2 / 4 - 8 * (x["x2"] - 0.7) ** 2


def in_unit_cube(prior: Prior, points: list[dict]) -> Tensor:
    return prior.space.to_unit(prior.space.to_tensor(points))


class TestJournal:
    def test_a_session_goes_on_as_if_it_had_not_ended(self, prior: Prior, tmp_path: Path) -> None:
        asked = {}
        for name in ("through", "ended"):
            optimizer = Optimizer(prior, journal=tmp_path / name)
            asked[name] = []
            for step in range(3):
                asked[name].append(optimizer.ask(2))
                optimizer.tell(asked[name][-1][0], bowl(asked[name][-1][0]))
                if step == 1:
                    optimizer.tell(asked[name][0][1], failed=True)
                if name == "ended":
                    optimizer.close()
                    optimizer = Optimizer(prior, journal=tmp_path / name)
            assert len(optimizer) == 3
            assert optimizer.pending == [asked[name][1][1], asked[name][2][1]]
            optimizer.close()
        assert asked["through"] == asked["ended"]

    def test_with_a_journal_single_points_are_pending_too(
        self, prior: Prior, tmp_path: Path
    ) -> None:
        with Optimizer(prior, journal=tmp_path / "a.jsonl") as optimizer:
            first = optimizer.ask()
        with Optimizer(prior, journal=tmp_path / "a.jsonl") as optimizer:
            assert optimizer.pending == [first]
            second = optimizer.ask()
            assert second != first
            optimizer.tell(first, 1.0)
            assert optimizer.pending == [second]

    def test_the_prior_may_be_loaded_anew_but_not_be_another(
        self, prior: Prior, make_prior: Made, tmp_path: Path
    ) -> None:
        journal = tmp_path / "a.jsonl"
        with Optimizer(prior, journal=journal) as optimizer:
            optimizer.tell({"x1": 0.5, "x2": 0.5}, 1.0)
        prior.save(tmp_path / "prior")
        with Optimizer(Prior.load(tmp_path / "prior"), journal=journal) as optimizer:
            assert len(optimizer) == 1
        with pytest.raises(JournalError, match="another session: its prior"):
            Optimizer(make_prior(broad=0.1, offset=3.1), journal=journal)
        with pytest.raises(JournalError, match="its minimize is False, not True"):
            Optimizer(prior, journal=journal, minimize=True)
        Optimizer(prior, journal=journal).close()

    def test_numbers_of_any_kind_are_the_same_session(self, prior: Prior, tmp_path: Path) -> None:
        journal = tmp_path / "a.jsonl"
        rules = {"c": Constraint(prior, low=np.float64(1), high=4)}
        with Optimizer(
            prior, journal=journal, seed=np.int64(3), minimize=np.bool_(False), constraints=rules
        ) as optimizer:
            first = optimizer.ask()
        rules = {"c": Constraint(prior, low=1, high=4.0)}
        with Optimizer(prior, journal=journal, seed=3, constraints=rules) as optimizer:
            assert optimizer.pending == [first]

    def test_a_point_that_is_not_of_the_space_is_named_by_its_line(
        self, prior: Prior, tmp_path: Path
    ) -> None:
        journal = tmp_path / "a.jsonl"
        with Optimizer(prior, journal=journal) as optimizer:
            optimizer.tell({"x1": 0.5, "x2": 0.5}, 1.0)
        journal.write_text(journal.read_text().replace('"x1": 0.5', '"x1": 55'))
        with pytest.raises(JournalError, match=r"line 2 is broken: .*'x1' is 55"):
            Optimizer(prior, journal=journal)

    def test_what_cannot_be_written_is_not_told(self, prior: Prior, tmp_path: Path) -> None:
        optimizer = Optimizer(prior, journal=tmp_path / "a.jsonl")
        optimizer.close()
        with pytest.raises(JournalError, match="closed"):
            optimizer.tell({"x1": 0.5, "x2": 0.5}, 1.0)
        assert len(optimizer) == 0

    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        st.lists(
            st.tuples(
                st.floats(1e-4, 1.0),
                st.integers(1, 6),
                st.sampled_from(["rbf", "linear", "poly"]),
                st.floats(-1e30, 1e30),
                st.sampled_from(["asked", "told", "failed"]),
            ),
            max_size=5,
        )
    )
    def test_any_history_comes_back_to_the_bit(
        self, mixed_prior: Prior, tmp_path_factory: pytest.TempPathFactory, history: list
    ) -> None:
        journal = tmp_path_factory.mktemp("session") / "a.jsonl"
        with Optimizer(mixed_prior, journal=journal) as optimizer:
            for rate, depth, kernel, y, kind in history:
                x = {"rate": rate, "depth": depth, "kernel": kernel}
                if kind == "asked":
                    optimizer.hold(x)
                elif kind == "told":
                    optimizer.tell(x, y)
                else:
                    optimizer.tell(x, failed=True)
            before = optimizer._session
        with Optimizer(mixed_prior, journal=journal) as optimizer:
            after = optimizer._session
        for name in ("X", "Y", "pending", "failed"):
            assert torch.equal(getattr(before, name), getattr(after, name)), name


class TestBatches:
    def test_points_of_a_batch_differ(self, prior: Prior) -> None:
        optimizer = Optimizer(prior)
        for told in range(3):
            batch = optimizer.ask(4)
            distances = torch.pdist(in_unit_cube(prior, batch))
            assert distances.min() > 0.01
            assert optimizer.pending == batch
            for x in batch:
                optimizer.tell(x, bowl(x))
            assert optimizer.pending == []
            assert len(optimizer) == 4 * (told + 1)
        assert optimizer.best()[1] > 2.5

    def test_the_first_of_a_batch_is_what_would_be_asked_alone(self, prior: Prior) -> None:
        assert Optimizer(prior).ask(3)[0] == Optimizer(prior).ask()
        assert Optimizer(prior).ask(1) == [Optimizer(prior).ask()]

    def test_candidates_are_never_proposed_again(self, prior: Prior) -> None:
        optimizer = Optimizer(prior, candidates=prior.space.sample(6, seed=2))
        first, second = optimizer.ask(3), optimizer.ask(2)
        last = optimizer.ask()
        proposed = [*first, *second, last]
        assert len({tuple(x.values()) for x in proposed}) == 6
        optimizer.tell(last, failed=True)
        with pytest.raises(ExhaustedError, match="or are pending"):
            optimizer.ask()
        assert optimizer.pending == first + second

    def test_too_large_a_batch_leaves_no_trace(self, prior: Prior) -> None:
        optimizer = Optimizer(prior, candidates=prior.space.sample(3, seed=2))
        with pytest.raises(ExhaustedError, match="all 3 candidates"):
            optimizer.ask(4)
        assert optimizer.pending == []
        with pytest.raises(ValueError, match="q is 0"):
            optimizer.ask(0)

    def test_a_suggestion_may_be_carried_out_almost(self, prior: Prior) -> None:
        optimizer = Optimizer(prior)
        first, second = optimizer.ask(2)
        optimizer.tell({name: float(f"{value:.5g}") for name, value in second.items()}, 1.0)
        assert optimizer.pending == [first]

    def test_points_that_others_evaluate_are_avoided(self, prior: Prior) -> None:
        optimizer = Optimizer(prior)
        best = optimizer.ask()
        optimizer.hold(best)
        other = optimizer.ask()
        assert torch.pdist(in_unit_cube(prior, [best, other])).item() > 0.01


class TestFailed:
    @pytest.mark.parametrize("sign", [None, 1.0, -1.0])
    def test_proposals_move_away(self, prior: Prior, sign: float | None) -> None:
        objective = None if sign is None else (lambda Y, X: sign * Y.squeeze(-1))
        optimizer = Optimizer(prior, objective=objective)
        optimizer.tell({"x1": -2.0, "x2": 0.2}, 2.0)
        asked = []
        for _ in range(4):
            asked.append(optimizer.ask())
            optimizer.tell(asked[-1], failed=True)
        assert torch.pdist(in_unit_cube(prior, asked)).min() > 0.01
        assert len(optimizer) == 1
        assert optimizer.best() == ({"x1": -2.0, "x2": 0.2}, 2.0)

    def test_it_may_be_tried_again(self, prior: Prior) -> None:
        optimizer = Optimizer(prior, candidates=prior.space.sample(1, seed=0))
        x = optimizer.ask()
        optimizer.tell(x, failed=True)
        optimizer.tell(x, 1.0)
        assert len(optimizer) == 1
        assert len(optimizer._session.failed) == 0

    def test_it_has_no_value(self, prior: Prior) -> None:
        with pytest.raises(ValueError, match="has no value"):
            Optimizer(prior).tell({"x1": 0.5, "x2": 0.5}, 1.0, failed=True)


class TestFixed:
    def test_inputs_of_any_type(self, mixed_prior: Prior) -> None:
        optimizer = Optimizer(mixed_prior)
        for fixed in ({"rate": 0.123}, {"depth": 5}, {"kernel": "poly", "depth": 1}):
            for x in optimizer.ask(2, fixed=fixed):
                assert {name: x[name] for name in fixed} == fixed

    def test_candidates(self, mixed_prior: Prior) -> None:
        points = mixed_prior.space.sample(40, seed=0)
        optimizer = Optimizer(mixed_prior, candidates=points)
        assert optimizer.ask(fixed={"kernel": "poly"})["kernel"] == "poly"
        with pytest.raises(ExhaustedError, match="with these fixed inputs"):
            optimizer.ask(fixed={"rate": 0.5})

    def test_unknown_or_illegal(self, mixed_prior: Prior) -> None:
        with pytest.raises(SpaceError, match=r"'depht'.*did you mean 'depth'"):
            Optimizer(mixed_prior).ask(fixed={"depht": 3})
        with pytest.raises(SpaceError, match="'depth' is 9"):
            Optimizer(mixed_prior).ask(fixed={"depth": 9})


@pytest.mark.parametrize("minimize", [False, True])
def test_what_to_expect_is_in_the_users_units(make_prior: Made, minimize: bool) -> None:
    optimizer = Optimizer(make_prior(broad=0.1, minimize=minimize))
    x = {"x1": 0.5, "x2": 0.5}
    (before,) = optimizer.expect([x])
    assert before.low < before.mean < before.high
    assert (before.mean < 0) == minimize  # the prior's offset is 3 in its own units
    for _ in range(20):
        optimizer.tell(x, before.low)
    (after,) = optimizer.expect([x])
    assert after.mean == pytest.approx(before.low, abs=0.1)
    assert after.high - after.low < before.high - before.low
