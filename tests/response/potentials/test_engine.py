"""Finished forces are kept and found again, by nobody else, after any end of the run."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import ase
import numpy as np
import phonopy
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from tests.conftest import REPOSITORY
from tests.response.potentials.toys import register

from voigt.errors import InputError, OutputError
from voigt.response.phonons.modes import gamma_modes
from voigt.response.phonons.project import Project, calculated_project, read_project
from voigt.response.potentials import engine_of, load_potential
from voigt.response.potentials.workers import forces_by_processes, work


class Counted(EMT):  # type: ignore[misc]
    """Counts the cells that it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[int] = []

    def calculate(self, *arguments: Any, **options: Any) -> None:
        super().calculate(*arguments, **options)
        self.cells.append(len(self.atoms))


def copper_silver() -> ase.Atoms:
    """An ordered alloy whose atoms are displaced in more than one way: a layered crystal off its rest."""
    atoms = bulk("Cu", "fcc", a=3.8, cubic=True)
    atoms.symbols[:2] = "Ag"
    atoms.set_cell(np.diag([3.8, 3.8, 3.9]), scale_atoms=True)
    return atoms


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    toy = Counted()
    register(monkeypatch, "counted", lambda: toy)
    return toy


def calculated(folder: Path | None, **options: Any) -> Project:
    settings: dict[str, Any] = {"dim": [2, 2, 2], "relax": "none", **options}
    return calculated_project(copper_silver(), "alloy", "counted", folder=folder, **settings)


class Stopped(Exception):
    """Of the user, in the middle."""


def test_a_run_that_was_stopped_goes_on_where_it_was(counted: Counted, tmp_path: Path) -> None:
    whole = calculated(None)
    everything = len(counted.cells)
    assert everything >= 3  # the cell at rest and two displaced ones
    for after in range(1, everything):
        counted.cells.clear()
        folder, seen = tmp_path / str(after), []

        def stop(seen: list[int] = seen, after: int = after) -> None:
            seen.append(1)
            if len(seen) == after:
                raise Stopped

        with pytest.raises(Stopped):
            calculated(folder, advance=stop)
        assert not (folder / "phonopy_params.yaml").exists()
        first = len(counted.cells)
        ticks: list[int] = []
        again = calculated(folder, advance=lambda ticks=ticks: ticks.append(1))
        assert len(counted.cells) == everything  # none twice
        assert first == after + 1  # the cell at rest came before
        assert len(ticks) == everything - 1  # progress counts what was found
        np.testing.assert_array_equal(again.phonon.force_constants, whole.phonon.force_constants)
        counted.cells.clear()
        calculated(folder)
        assert counted.cells == []


@pytest.mark.parametrize(
    "change",
    [{"displacement": 0.02}, {"dim": [1, 2, 2]}, {"relax": "positions"}, {"atoms": 3.81}, {"potential": "other"}],
    ids=lambda change: next(iter(change)),
)
def test_another_question_does_not_read_it(
    change: dict[str, Any], counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calculated(tmp_path)
    counted.cells.clear()
    if "atoms" in change:
        atoms = copper_silver()
        atoms.cell[0, 0] = change["atoms"]
        calculated_project(atoms, "alloy", "counted", folder=tmp_path, dim=[2, 2, 2], relax="none")
    elif "potential" in change:
        register(monkeypatch, "other", lambda: counted)
        calculated_project(copper_silver(), "alloy", "other", folder=tmp_path, dim=[2, 2, 2], relax="none")
    else:
        calculated(tmp_path, **change)
    displaced = [size for size in counted.cells if size > 4]
    assert len(displaced) >= 2


def test_another_version_of_the_package_does_not_read_it(
    counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calculated(tmp_path)
    counted.cells.clear()
    monkeypatch.setattr("voigt.response.potentials.registry.metadata.version", lambda _: "99")
    calculated(tmp_path)
    assert len(counted.cells) >= 3


def test_a_killed_process_leaves_what_it_has_done(
    counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in the middle of the third cell, in another process with the same toy."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import pytest\n"
        "from tests.response.potentials import test_engine as t\n"
        "class Deadly(t.Counted):\n"
        "    def calculate(self, *arguments, **options):\n"
        "        if len(self.cells) == 2:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        super().calculate(*arguments, **options)\n"
        "with pytest.MonkeyPatch.context() as patch:\n"
        "    t.register(patch, 'counted', Deadly)\n"
        "    t.calculated(Path(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, timeout=250, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 2
    expected = calculated(None)
    everything = len(counted.cells)
    counted.cells.clear()
    resumed = calculated(tmp_path)
    assert len(counted.cells) == everything - 2
    np.testing.assert_array_equal(resumed.phonon.force_constants, expected.phonon.force_constants)


def test_damaged_results_are_calculated_again(counted: Counted, tmp_path: Path) -> None:
    whole = calculated(tmp_path)
    files = sorted((tmp_path / "cache").glob("*.npz"))
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:100])
    np.savez(files[2], forces=np.full((3, 3), np.nan))
    counted.cells.clear()
    again = calculated(tmp_path)
    assert len(counted.cells) == 3
    np.testing.assert_array_equal(again.phonon.force_constants, whole.phonon.force_constants)


def test_a_relaxation_is_kept_too(counted: Counted, tmp_path: Path) -> None:
    first = calculated(tmp_path, relax="cell")
    counted.cells.clear()
    second = calculated(tmp_path, relax="cell")
    assert counted.cells == []
    np.testing.assert_array_equal(first.phonon.unitcell.cell, second.phonon.unitcell.cell)
    assert first.notes == second.notes
    assert "cell relaxed with counted in" in first.notes[0].text


def test_the_folder_is_a_phonopy_project(counted: Counted, tmp_path: Path) -> None:
    project = calculated(tmp_path, relax="positions")
    text = (tmp_path / "phonopy_params.yaml").read_text()
    assert text.startswith("# forces of counted, ase ")
    expected = gamma_modes(project.phonon).frequencies
    read = read_project(tmp_path)
    np.testing.assert_allclose(gamma_modes(read.phonon).frequencies, expected, atol=1e-4)
    loaded = phonopy.load(tmp_path / "phonopy_params.yaml", log_level=0)
    loaded.run_qpoints([[0, 0, 0]])
    np.testing.assert_allclose(np.sort(loaded.qpoints.frequencies[0]), np.sort(expected), atol=1e-3)


def test_a_project_of_somebody_else_is_not_written_over(counted: Counted, tmp_path: Path) -> None:
    (tmp_path / "phonopy_params.yaml").write_text("precious")
    with pytest.raises(InputError, match=r"holds a phonopy_params.yaml of another calculation; choose another folder"):
        calculated(tmp_path)
    assert (tmp_path / "phonopy_params.yaml").read_text() == "precious"
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the folder"):
        calculated(tmp_path / "file" / "results")


@pytest.mark.parametrize(
    ("options", "words"), [({"folder": Path("x")}, "a folder"), ({"workers": 2}, "several workers")]
)
def test_what_needs_a_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"^{words}.* needs a potential by name"):
        engine_of(EMT(), **options)
    with pytest.raises(InputError, match="no potential is named 'emt'"):
        engine_of("emt", **options)


def test_workers_are_counted(counted: Counted) -> None:
    assert engine_of("counted", workers=3).workers == 3
    assert engine_of("counted", workers=0).workers >= 1
    with pytest.raises(InputError, match="workers -1: give a number of processes"):
        engine_of("counted", workers=-1)


def test_a_loaded_potential_is_known_by_its_name(counted: Counted, tmp_path: Path) -> None:
    engine = engine_of(load_potential("counted"), tmp_path)
    assert engine.name == "counted"
    assert engine.store is not None
    assert engine.identity.startswith("counted, ase ")


def test_what_a_process_does(counted: Counted) -> None:
    """Forces of the cells that come, errors as sentences, and an end when nobody is there any more."""
    from multiprocessing import Pipe

    ours, theirs = Pipe()
    thread = Thread(target=work, args=(theirs, "counted"))
    thread.start()
    atoms = copper_silver()
    ours.send((7, atoms.numbers, atoms.cell.array, atoms.positions))
    index, forces = ours.recv()
    assert index == 7
    atoms.calc = EMT()
    np.testing.assert_array_equal(forces, atoms.get_forces())
    ours.send((8, np.array([11]), np.eye(3) * 5, np.zeros((1, 3))))
    index, answer = ours.recv()
    assert index == 8
    assert "counted gives no forces" in answer
    ours.close()
    thread.join(20)
    assert not thread.is_alive()


def test_errors_of_processes_arrive() -> None:
    """A name that only this process could know."""
    with pytest.raises(InputError, match="no potential is named 'nobody'"):
        list(forces_by_processes("nobody", [copper_silver()], 1))


@pytest.mark.slow
def test_two_workers_give_what_one_gives(tmp_path: Path) -> None:
    pytest.importorskip("sevenn", reason="the extra [potential] is not installed")
    cells: list[ase.Atoms] = []
    for seed in range(3):
        cells.append(bulk("MgO", "rocksalt", a=4.2))
        cells[-1].rattle(0.05, seed=seed)
    seen: list[int] = []
    several = engine_of("sevennet-l3i5", tmp_path, workers=2).forces(cells, seen.append)
    assert sorted(seen) == [0, 1, 2]
    for one, other in zip(engine_of("sevennet-l3i5").forces(cells), several, strict=True):
        assert np.abs(one).max() > 0.1
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-10)
