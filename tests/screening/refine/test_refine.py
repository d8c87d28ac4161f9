"""The second stage of a screening: ranking again, resuming, processes that die, the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from ase.build import bulk
from typer.testing import CliRunner

import voigt
from voigt.cli.main import app
from voigt.errors import InputError
from voigt.response.assembly import ResponseSettings
from voigt.screening import Job, open_collection, read_criteria, result_parts, screen_collection, select, write_report
from voigt.screening.refine import Refinement, Refining, read_refinement, refine, run, write_refinement
from voigt.screening.refine.answers import Answer, Task, read_answer, write_answer
from voigt.screening.refine.ranking import ranked_again
from voigt.screening.report.listing import refinement_text

CRITERIA = read_criteria("eps_total > 5", "eps_total")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Static permittivities of four cubic crystals by the network that ships."""
    import ase.io

    folder = tmp_path_factory.mktemp("screening")
    cells = [("MgO", 4.21), ("CaO", 4.81), ("NaCl", 5.64), ("LiF", 4.03)]
    crystals = [bulk(name, "rocksalt", length) for name, length in cells]
    for (name, _), atoms in zip(cells, crystals, strict=True):
        atoms.info["id"] = name.lower()
    ase.io.write(folder / "salts.xyz", crystals, format="extxyz")
    job = Job(("eps_total", "eps_inf"))
    screen_collection(open_collection(str(folder / "salts.xyz")), folder / "store", job, criteria=CRITERIA)
    return folder / "store"


def made_answer(atoms: int, eps_total: float | None, state: Any = "stable", taken: float = 7.0) -> Answer:
    values = {} if eps_total is None else {"eps_total": eps_total * np.eye(3)}
    best = {} if state == "failed" else {"eps_total": taken * np.eye(3)}
    problem = "the calculator failed" if state == "failed" else ""
    cell, places = 4.0 * np.eye(3), np.arange(3.0 * atoms).reshape(atoms, 3)
    return Answer(values, best, 3.0, state, problem, cell, places, 1.0)


@pytest.fixture(scope="module")
def refinement(store: Path) -> Refinement:
    """Made-up answers: the first of the networks is unstable, the second failed, the last becomes the first."""
    parts = result_parts(store)
    selection = select(parts, None, CRITERIA.rank, None)
    answers = [
        made_answer(2, None, "unstable"),
        made_answer(2, None, "failed"),
        made_answer(2, 4.0),
        made_answer(2, 9.0, "soft", taken=8.0),
    ]
    return ranked_again(parts, selection, CRITERIA, answers, "toy")


def test_crystals_come_in_the_order_of_their_assembled_values(store: Path, refinement: Refinement) -> None:
    by_network = select(result_parts(store), None, CRITERIA.rank, None).ids
    order = [by_network[k] for k in (3, 2, 0, 1)]
    assert [crystal.id for crystal in refinement.crystals] == order
    assert [crystal.after for crystal in refinement.crystals] == [1, 2, 0, 0]
    assert [crystal.before for crystal in refinement.crystals] == [4, 3, 1, 2]
    assert [crystal.assembled for crystal in refinement.crystals[:2]] == pytest.approx([9.0, 4.0])
    assert [crystal.taken for crystal in refinement.crystals[:2]] == pytest.approx([8.0, 7.0])
    assert np.isnan([crystal.assembled for crystal in refinement.crystals[2:]]).all()


def test_the_condition_is_judged_by_the_assembled_values(refinement: Refinement) -> None:
    assert [crystal.holds for crystal in refinement.crystals] == [True, False, False, False]


def test_the_table_holds_relaxed_structures_and_assembled_tensors(refinement: Refinement) -> None:
    first = refinement.table.slice(0, 1).to_pylist()[0]
    assert first["eps_total"] == pytest.approx((9.0 * np.eye(3)).ravel().tolist())
    assert first["cell"] == pytest.approx((4.0 * np.eye(3)).ravel().tolist())
    assert first["frac"] == pytest.approx((np.arange(6.0) / 4).tolist())
    assert first["volume"] == pytest.approx(64.0)
    assert first["eps_total_interval"] is None  # that of the network says nothing of another value
    assert refinement.table["eps_total"].to_pylist()[2:] == [None, None]


def test_the_smallest_comes_first_if_asked_for(store: Path) -> None:
    criteria = read_criteria(None, "eps_total", ascending=True)
    selection = select(result_parts(store), None, criteria.rank, None, ascending=True)
    answers = [made_answer(2, value) for value in (5.0, 3.0, 4.0, 2.0)]
    found = ranked_again(result_parts(store), selection, criteria, answers, "toy")
    assert [crystal.assembled for crystal in found.crystals] == pytest.approx([2.0, 3.0, 4.0, 5.0])


def test_what_is_written_is_read_again(store: Path, refinement: Refinement, tmp_path: Path) -> None:
    path = write_refinement(refinement, tmp_path)
    again = read_refinement(tmp_path)
    assert again is not None
    assert again.table.equals(refinement.table.replace_schema_metadata(again.table.schema.metadata))
    assert [repr(replace(c, network=(1, 1))) for c in again.crystals] == [
        repr(replace(c, network=(1, 1))) for c in refinement.crystals
    ]
    assert (again.where, again.ranked_by) == ("eps_total > 5", "eps_total")
    assert (again.ascending, again.potential) == (False, "toy")
    path.write_text(path.read_text().replace("soft", "sofa"))
    with pytest.raises(InputError, match=r"\(it has a state 'sofa'\); run 'voigt screen --refine' again"):
        read_refinement(tmp_path)
    assert read_refinement(tmp_path / "elsewhere") is None


def test_answers_survive_on_disk_and_damaged_ones_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_answer(path, made_answer(2, 4.0, "soft"))
    found = read_answer(path, 2)
    assert found is not None
    assert (found.state, found.lowest, found.seconds) == ("soft", 3.0, 1.0)
    np.testing.assert_array_equal(found.values["eps_total"], 4.0 * np.eye(3))
    assert read_answer(path, 3) is None
    for key, value in (("state", "fine"), ("positions", [[0, 0, None]] * 2), ("values", {"eps_total": [1]})):
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
        assert read_answer(path, 2) is None
        write_answer(path, made_answer(2, 4.0))
    path.write_text(path.read_text()[:-20])
    assert read_answer(path, 2) is None


def test_another_question_has_another_answer(tmp_path: Path) -> None:
    task = Task("a", bulk("MgO", "rocksalt", 4.2), ResponseSettings(), ("m",), tmp_path)
    others = [
        replace(task, atoms=bulk("MgO", "rocksalt", 4.3)),
        replace(task, settings=ResponseSettings(relax="cell")),
        replace(task, settings=ResponseSettings(potential="sevennet-0")),
        replace(task, models=("n",)),
        replace(task, id="b"),
    ]
    assert len({entry.digest for entry in (task, *others)}) == 6
    assert replace(task, folder=tmp_path / "b").digest == task.digest


def test_refining_needs_a_ranking_and_a_known_potential(store: Path) -> None:
    with pytest.raises(InputError, match="give --rank"):
        refine(store, 2, read_criteria("eps_total > 5"))
    with pytest.raises(InputError, match="no potential is named 'nobody'"):
        refine(store, 2, CRITERIA, Refining("nobody"))


def test_a_call_that_was_stopped_goes_on(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done is not done again, and counts."""
    asked: list[str] = []

    def answering(task: Task) -> Answer:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(task.id)
        return made_answer(len(task.atoms), 5.0 + len(asked))

    monkeypatch.setattr(run, "answer", answering)
    monkeypatch.setattr(run, "load_potential", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        refine(store, 3, CRITERIA)
    first = list(asked)
    asked.clear()
    done: list[None] = []
    found = refine(store, 3, CRITERIA, advance=lambda: done.append(None))
    assert len(asked) == 1
    assert len(done) == 3
    assert {crystal.id for crystal in found.crystals} == {*first, *asked}


def test_the_crystal_that_kills_a_process_is_the_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ResponseSettings()
    tasks = [Task(f"t{k}", bulk("MgO", "rocksalt", 4 + k / 10), settings, (), tmp_path) for k in range(6)]

    @contextmanager
    def processes(count: int) -> Iterator[Callable[..., Future[Any]]]:
        broken = False

        def submit(call: Callable[..., Any], task: Task) -> Future[Any]:
            nonlocal broken
            if broken:
                raise BrokenProcessPool
            future: Future[Any] = Future()
            if task.id == "t3":
                broken = True
                future.set_exception(BrokenProcessPool())
            else:
                future.set_result(made_answer(2, 1.0))
            return future

        yield submit

    monkeypatch.setattr(run, "processes", processes)
    found = {task.id: entry.state for task, entry in run._answers(tasks, 2)}
    assert found == {"t0": "stable", "t1": "stable", "t2": "stable", "t3": "failed", "t4": "stable", "t5": "stable"}


def test_the_report_shows_both_figures(store: Path, refinement: Refinement, tmp_path: Path) -> None:
    path = write_refinement(refinement, store)
    try:
        page = write_report(store, CRITERIA, output=tmp_path).page.read_text()
    finally:
        path.unlink()
    section = page.split("## The best 4 with a potential")[1].split("\n## ")[0]
    assert "2 have a value; 1 have unstable modes" in section
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    assert [row[1].strip() for row in rows[1:]] == ["1", "2", "–", "–"]
    assert rows[1][6].strip() == "9.000"
    assert "±" in rows[1][7]
    assert "the calculator failed" in rows[4][9]
    listing = refinement_text(refinement).splitlines()
    assert listing[1].split()[:2] == ["1", "4"]
    assert "unstable modes: no value" in listing[3]
    assert "## The best 4 with a potential" not in write_report(store, CRITERIA, output=tmp_path).page.read_text()


def test_options_are_checked_before_the_work(tmp_path: Path) -> None:
    runner = CliRunner()
    base = ["screen", "examples/MgO.vasp", "-o", str(tmp_path / "s"), "--properties", "eps_total"]
    for words, sentence in (
        (["--refine", "2"], "--refine takes the best, and nothing says which they are; give --rank"),
        (["--potential", "sevennet-0"], "--potential and --relax are for the second stage; add --refine N"),
        (["--refine", "2", "--rank", "eps_total", "--potential", "nobody"], "no potential is named 'nobody'"),
    ):
        result = runner.invoke(app, [*base, *words])
        assert result.exit_code == 2
        assert sentence in result.stderr
    assert not (tmp_path / "s").exists()


def test_with_a_potential_the_values_are_those_of_respond(tmp_path: Path) -> None:
    """One crystal from the command line to the table; eps_total is charges and springs, which `respond` keeps apart."""
    pytest.importorskip("sevenn", reason="the extra [potential] is not installed")
    output = tmp_path / "s"
    words = ["--where", "eps_total > 3", "--rank", "eps_total", "--refine", "1", "--workers", "1"]
    result = CliRunner().invoke(app, ["screen", "examples/MgO.vasp", "-o", str(output), *words])
    assert result.exit_code == 0, result.stderr
    (row,) = pq.read_table(output / "refined" / "refined.parquet").to_pylist()
    settings = ResponseSettings(dim=(1, 1, 1), bands=False, strain=False)
    answer = voigt.respond("examples/MgO.vasp", settings)
    (direct, assembled) = answer.routes["eps_total"]
    assert (direct.route, assembled.route) == ("predicted", "assembled")
    np.testing.assert_allclose(row["eps_total"], assembled.value.ravel(), rtol=1e-4, atol=1e-5)
    assert "elastic" in answer.quantities  # that of the network: nothing was strained
    assert "elastic_clamped" not in answer.quantities
    assert answer.phonons.bands is None
    assert not list((output / "refined" / "work").glob("*"))
