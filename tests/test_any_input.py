"""Whatever comes in: the right answer, or an error of ours that says what is wrong.

A few examples in a fast run; `pytest -m slow` tries more.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import metabo
from metabo.cli import app
from metabo.column import SpaceError
from metabo.optimizer import Optimizer
from metabo.prior import Prior, PriorFileError
from metabo.space import InputSpace
from metabo.table_file import TableFileError, read_table, write_table
from metabo.tasks.findings import find

FAST = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MORE = settings(FAST, max_examples=300)

numbers = st.one_of(st.floats(), st.integers(-(10**400), 10**400), st.sampled_from([1e308, -0.0]))
cells = st.one_of(
    numbers.map(str),
    st.text(max_size=6),
    st.sampled_from(["", "nan", "1e308", "-inf", "1e999", '"', "é", "\x00", "2020-01-01", "=1+1"]),
)
values = st.one_of(numbers, st.text(max_size=5), st.none(), st.booleans(), st.binary(max_size=3))


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """Tables that are right in part."""
    names = ["x1", "x2", "task", "value"]
    header = draw(st.permutations(names)) + draw(st.lists(st.text(max_size=4), max_size=1))
    row = st.lists(
        st.one_of(st.sampled_from(["0.5", "0.25", "1", "a"]), cells),
        min_size=len(header) - draw(st.integers(0, 1)),
        max_size=len(header),
    )
    lines = [header, *draw(st.lists(row, max_size=6))]
    text = "\n".join(",".join(line) for line in lines)
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return text.encode(encoding, errors="replace")


both_profiles = pytest.mark.parametrize(
    "profile", [FAST, pytest.param(MORE, marks=pytest.mark.slow)], ids=["few", "many"]
)


@both_profiles
def test_read_table(profile: settings, tmp_path: Path) -> None:
    @profile
    @given(st.one_of(csv_files(), st.binary(max_size=60), st.just(b"PAR1") | st.just(b"PAR1x")))
    def check(content: bytes) -> None:
        path = tmp_path / "table"
        path.write_bytes(content)
        try:
            frame = read_table(path)
        except TableFileError as error:
            assert str(path) in str(error)
            return
        assert all(isinstance(name, str) for name in frame.columns)
        assert len(set(frame.columns)) == len(frame.columns)

    check()


@both_profiles
def test_a_table_that_is_written_is_read(profile: settings, tmp_path: Path) -> None:
    finite = st.floats(allow_nan=False, allow_infinity=False)
    text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=5)

    @profile
    @given(st.lists(st.tuples(finite, text.map("t{}".format)), min_size=1, max_size=5))
    def check(rows: list) -> None:
        frame = pd.DataFrame(rows, columns=["a number", "text, too"])
        write_table(frame, tmp_path / "t.csv")
        pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), frame, check_dtype=False)

    check()


@both_profiles
def test_commands_on_any_table(profile: settings, prior: Prior, tmp_path: Path) -> None:
    """Exit code 0 or 2, never a traceback."""
    prior.save(tmp_path / "prior")

    @settings(profile, max_examples=profile.max_examples // 5)  # each asks for a point
    @given(csv_files())
    def check(content: bytes) -> None:
        table = tmp_path / "table.csv"
        table.write_bytes(content)
        for command in (
            f"check {table} --task task --output value --json",
            f"suggest {tmp_path / 'prior'} {table} --output value --json",
        ):
            result = CliRunner().invoke(app, command.split())
            assert result.exit_code in (0, 2), (command, result.exception)
            if not result.stderr.startswith("error: "):
                json.loads(result.stdout)

    check()


@both_profiles
def test_prior_files(profile: settings, prior: Prior, tmp_path: Path) -> None:
    """Cut off, flipped or foreign: refused, or the very same Prior."""
    prior.save(tmp_path / "prior")
    content = (tmp_path / "prior").read_bytes()

    @profile
    @given(st.data())
    def check(data: st.DataObject) -> None:
        broken = bytearray(content)
        for _ in range(data.draw(st.integers(0, 3))):
            broken[data.draw(st.integers(0, len(broken) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        end = data.draw(st.one_of(st.just(len(broken)), st.integers(0, len(broken))))
        (tmp_path / "broken").write_bytes(broken[:end])
        try:
            loaded = Prior.load(tmp_path / "broken")
        except PriorFileError as error:
            assert "broken" in str(error)
        else:
            assert loaded.digest == prior.digest

    check()


points = st.one_of(
    st.fixed_dictionaries({"x1": values, "x2": values}),
    st.fixed_dictionaries({"x1": st.floats(-4, 4), "x2": st.floats(0, 1)}),
    st.dictionaries(st.sampled_from(["x1", "x2", "x3"]), values, max_size=3),
)


@both_profiles
def test_tell_hold_and_expect(profile: settings, prior: Prior) -> None:
    @profile
    @given(points, values)
    def check(x: dict, y: Any) -> None:
        optimizer = Optimizer(prior)
        try:
            optimizer.tell(x, y)
        except ValueError as error:
            assert str(error)
            assert len(optimizer) == 0
        else:
            assert math.isfinite(y)
            told, value = optimizer.best()
            assert value == float(y)
            assert told == pytest.approx({name: float(v) for name, v in x.items()})
        for call in (optimizer.hold, lambda point: optimizer.expect([point])):
            try:
                call(x)
            except SpaceError as error:
                assert "x" in str(error)

    check()


@pytest.mark.filterwarnings("ignore::metabo.PriorCollapsedWarning")
@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-8, 1e8, 1e100, 1e300])
def test_values_of_any_size_lead_to_a_legal_point(prior: Prior, scale: float) -> None:
    optimizer = Optimizer(prior)
    try:
        for i, x in enumerate(prior.space.to_dicts(prior.space.sample(4, seed=0))):
            optimizer.tell(x, scale * (-1) ** i)
        x = optimizer.ask()
    except ValueError as error:
        assert scale > 1e100
        assert "too large" in str(error)
        return
    prior.space.to_tensor(x)
    assert all(math.isfinite(number) for number in optimizer.expect([x])[0])


@both_profiles
def test_bounds(profile: settings) -> None:
    @profile
    @given(st.one_of(st.lists(st.lists(values, max_size=3), max_size=3), st.tuples(values, values)))
    def check(bounds: Any) -> None:
        try:
            space = InputSpace.from_bounds(bounds)
        except (SpaceError, TypeError, ValueError) as error:
            assert str(error)
            return
        assert (space.bounds[0] < space.bounds[1]).all()
        space.check(space.sample(8, seed=0))

    check()


@both_profiles
def test_frames(profile: settings) -> None:
    column = st.lists(values, min_size=4, max_size=4)

    @profile
    @given(column, column, st.lists(st.sampled_from(["a", "b", 1, None]), min_size=4, max_size=4))
    def check(x: list, y: list, task: list) -> None:
        frame = pd.DataFrame({"x": x, "y": y, "task": task})
        findings = find(frame, task="task", output="y")
        try:
            family = metabo.TableFamily.from_frame(frame, task="task", output="y")
        except ValueError as error:
            assert str(error)
            return
        batch = torch.cat([task.Y for task in family.tasks()])
        assert batch.isfinite().all()
        # An input that mixes numbers and text is taken for choices, if it is wanted so.
        wrong = [f for f in findings if f.severity == "wrong" and f.column != "x"]
        assert all("too large" in finding.message for finding in wrong)

    check()


@both_profiles
def test_constraints(profile: settings, prior: Prior) -> None:
    @profile
    @given(st.floats(), st.floats())
    def check(low: float, high: float) -> None:
        try:
            constraint = metabo.Constraint(prior, low, high)
        except ValueError as error:
            assert "low below high" in str(error)
            return
        model = constraint.surrogate(prior.space.bounds[:0], torch.empty(0, dtype=torch.float64))
        found = constraint.log_probability(model, prior.space.sample(3, seed=0))
        assert not found.isnan().any()
        assert (found <= 1e-12).all()

    check()
