"""Polarization along paths against closed forms, and its invariances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import ase
import numpy as np
import pytest
from ase.build import bulk
from tests import crystals

import voigt
from voigt.errors import InputError
from voigt.prediction.result import Settings
from voigt.response.arrays import neutralized
from voigt.response.field.charges import predicted_charges
from voigt.response.field.polarization import COULOMB_PER_SQUARE_METER, polarization_path, wrap_polarization
from voigt.response.field.steps import intervals


def charges(atoms: ase.Atoms, seed: int = 0) -> np.ndarray:
    """Neutral and far from symmetric."""
    return neutralized(np.random.default_rng(seed).normal(size=(len(atoms), 3, 3)))


def walk(atoms: ase.Atoms, steps: int = 12, size: float = 0.2, seed: int = 1) -> tuple[list[ase.Atoms], np.ndarray]:
    """Frames that stray from the first, and the displacements of each."""
    moves = np.random.default_rng(seed).normal(scale=size, size=(steps, len(atoms), 3)).cumsum(axis=0)
    displacements = np.concatenate([np.zeros((1, len(atoms), 3)), moves])
    return [displaced(atoms, move) for move in displacements], displacements


def constant(z: np.ndarray) -> Callable[[Sequence[ase.Atoms]], np.ndarray]:
    return lambda frames: np.array([z] * len(frames))


def displaced(atoms: ase.Atoms, move: np.ndarray) -> ase.Atoms:
    frame = atoms.copy()
    frame.positions += move
    return frame


def test_constant_charges_give_the_sum_over_atoms() -> None:
    atoms = crystals.nameless()
    z = charges(atoms)
    frames, moves = walk(atoms)
    path = polarization_path(frames, z)
    expected = np.zeros((len(frames), 3))
    for frame in range(len(frames)):
        for atom in range(len(atoms)):
            expected[frame] += z[atom] @ moves[frame, atom]  # rows are fields, columns displacements
    np.testing.assert_allclose(path.change, expected / atoms.get_volume(), atol=1e-12)
    transposed = polarization_path(frames, z.transpose(0, 2, 1)).change
    assert abs(transposed - path.change).max() > 1e-3


def test_units() -> None:
    """One e over one A^2 is 1.602176634e-19 C / 1e-20 m^2; moving e by 1 A in a cell of 100 A^3 makes 0.16 C/m^2."""
    atoms = ase.Atoms("HF", positions=[[0, 0, 0], [0, 0, 2]], cell=[5, 5, 4], pbc=True)
    z = np.array([np.eye(3), -np.eye(3)])
    path = polarization_path([atoms, displaced(atoms, np.array([[0, 0, 1.0], [0, 0, 0]]))], z)
    np.testing.assert_allclose(path.change[1], [0, 0, 0.01])
    np.testing.assert_allclose(path.si[1], [0, 0, 0.1602176634])
    np.testing.assert_allclose(path.volumes, 100)
    np.testing.assert_allclose(path.center_of_mass[1], [0, 0, 1.008 / (1.008 + 18.998403163)])


def test_a_rigid_translation_changes_nothing() -> None:
    atoms = crystals.nameless()
    z = np.random.default_rng(3).normal(size=(4, 3, 3))  # violates the sum rule
    frames, _ = walk(atoms)
    shifts = np.random.default_rng(4).normal(scale=0.3, size=(len(frames), 3)).cumsum(axis=0)
    shifted = [displaced(frame, np.tile(shift, (4, 1))) for frame, shift in zip(frames, shifts, strict=True)]
    still, moved = polarization_path(frames, z), polarization_path(shifted, z)
    np.testing.assert_allclose(moved.change, still.change, atol=1e-12)
    np.testing.assert_allclose(
        np.diff(moved.center_of_mass, axis=0) - np.diff(still.center_of_mass, axis=0),
        np.diff(shifts, axis=0),
        atol=1e-12,
    )
    kept = polarization_path(shifted, z, remove_drift=False)
    np.testing.assert_allclose(kept.change, still.change, atol=1e-12)  # neutral: the drift carries no dipole
    bare = {"sum_rule": False, "remove_drift": False}
    with_drift = polarization_path(shifted, z, **bare).change - polarization_path(frames, z, **bare).change
    expected = (shifts - shifts[0]) @ z.sum(axis=0).T / atoms.get_volume()
    np.testing.assert_allclose(with_drift, expected, atol=1e-12)
    assert abs(expected).max() > 1e-2


def test_a_charged_cell_carries_its_charge() -> None:
    atoms = crystals.nameless()
    frames = [displaced(atoms, np.tile([0.1 * k, 0, 0], (4, 1))) for k in range(3)]
    path = polarization_path(frames, charges(atoms), total_charge=2.0, remove_drift=False)
    np.testing.assert_allclose(path.change[2], [2 * 0.2 / atoms.get_volume(), 0, 0], atol=1e-12)
    np.testing.assert_allclose(polarization_path(frames, charges(atoms), total_charge=2.0).change, 0, atol=1e-12)


@pytest.mark.parametrize("pbc", [True, (True, True, False)])
def test_wrapped_positions_give_the_same(pbc: bool | tuple[bool, ...]) -> None:
    atoms = crystals.nameless()
    atoms.set_pbc(pbc)
    frames, _ = walk(atoms, steps=40, size=0.15)
    wrapped = [frame.copy() for frame in frames]
    for frame in wrapped:
        frame.wrap()
    jumps = max(abs(b.positions - a.positions).max() for a, b in pairwise(wrapped))
    assert jumps > 2  # an atom did leave the cell
    expected = polarization_path(frames, charges(atoms)).change
    np.testing.assert_allclose(polarization_path(wrapped, charges(atoms)).change, expected, atol=1e-12)
    torn = polarization_path(wrapped, charges(atoms), unwrap=False, remove_drift=False).change
    assert abs(torn - expected).max() > 1e-2


def test_unwrapping_in_a_very_oblique_cell() -> None:
    """Rounding fractional coordinates of the given cell would miss the nearest image."""
    cell = np.array([[4.0, 0, 0], [3.9, 4.1, 0], [7.7, 3.8, 4.2]])
    atoms = ase.Atoms("HF", positions=[[0, 0, 0], [2, 2, 2]], cell=cell, pbc=True)
    move = np.array([[0.0, 1.5, 0.9], [0, 0, 0]])
    far = displaced(atoms, move + np.array([[2, -1, 3], [0, 1, 0]]) @ cell)
    z = np.array([np.eye(3), -np.eye(3)])
    np.testing.assert_allclose(polarization_path([atoms, far], z).change[1], move[0] / atoms.get_volume(), atol=1e-12)
    naive = move[0] @ np.linalg.inv(cell)
    assert abs(naive).max() > 0.5


def test_a_step_too_long_to_unwrap_is_refused() -> None:
    atoms = crystals.rocksalt()
    frames = [atoms, atoms.copy(), displaced(atoms, np.array([[0, 0, 2.0], [0, 0, 0]]))]
    with pytest.raises(InputError, match=r"atom 0 \(Na\) moves by 2.00 A from frame 1 to the next"):
        polarization_path(frames, charges(atoms))
    path = polarization_path(frames, charges(atoms), unwrap=False)
    np.testing.assert_allclose(path.change[2], charges(atoms)[0] @ [0, 0, 2] / atoms.get_volume(), atol=1e-12)


def quadratic(atoms: ase.Atoms) -> tuple[np.ndarray, object]:
    """Z of the first atom 1 + 3 x^2 (x its displacement), so that the dipole is x + x^3."""

    def source(frames: Sequence[ase.Atoms]) -> np.ndarray:
        found = np.zeros((len(frames), len(atoms), 3, 3))
        for row, frame in zip(found, frames, strict=True):
            x = frame.positions[0, 0] - atoms.positions[0, 0]
            row[0] = (1 + 3 * x**2) * np.eye(3)
            row[1] = -row[0]
        return found

    return np.array([1.0, 0, 0]), source


def test_the_trapezoid_of_varying_charges_converges_as_its_step_squared() -> None:
    atoms = ase.Atoms("HF", positions=[[0, 0, 0], [0, 0, 2]], cell=[5, 5, 4], pbc=True)
    direction, source = quadratic(atoms)
    errors = []
    for steps in (8, 16, 32):
        frames = [displaced(atoms, np.array([x * direction, 0 * direction])) for x in np.linspace(0, 1, steps + 1)]
        change = polarization_path(frames, source).change[-1, 0]
        errors.append(abs(change - (1 + 1) / 100))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.02)
    assert errors[2] < 2e-5
    uncorrected = polarization_path(frames, source([frames[0]])[0]).change[-1, 0]
    assert uncorrected == pytest.approx(0.01)  # with the charges of the start


def test_charges_at_every_nth_frame_are_interpolated() -> None:
    """Linear Z makes the interpolation exact, at a fraction of the calls."""
    atoms = ase.Atoms("HF", positions=[[0, 0, 0], [0, 0, 2]], cell=[5, 5, 4], pbc=True)
    asked = []

    def linear(frames: Sequence[ase.Atoms]) -> np.ndarray:
        asked.extend(frame.positions[0, 0] for frame in frames)
        ramp = np.array([1 + 4 * frame.positions[0, 0] for frame in frames])
        return ramp[:, None, None, None] * np.array([np.eye(3), -np.eye(3)])

    x = np.linspace(0, 1, 24)  # 23 steps: the last stretch is shorter
    frames = [displaced(atoms, np.array([[v, 0, 0], [0, 0, 0]])) for v in x]
    path = polarization_path(frames, linear, every=5)
    np.testing.assert_allclose(asked, x[[0, 5, 10, 15, 20, 23]])
    np.testing.assert_allclose(path.change[:, 0], (x + 2 * x**2) / 100, atol=1e-12)
    rows = linear([frames[k] for k in (0, 5, 10, 15, 20, 23)])
    np.testing.assert_allclose(polarization_path(frames, rows, every=5).change, path.change, atol=1e-14)
    with pytest.raises(InputError, match="every=6 asks for those of 5"):
        polarization_path(frames, rows, every=6)
    with pytest.raises(InputError, match="do not fit"):
        polarization_path(frames, rows, every=4)


@pytest.mark.parametrize("every", [1, 7, 300, 5000])
def test_long_paths_are_cut_without_a_trace(every: int) -> None:
    atoms = ase.Atoms("HF", positions=[[0, 0, 0], [0, 0, 2]], cell=[5, 5, 4], pbc=True)
    times = np.arange(1025)  # 4 x 256 + 1
    frames = [displaced(atoms, np.array([[np.sin(t / 50), 0, 0], [0, 0, 0]])) for t in times]
    path = polarization_path(iter(frames), np.array([np.eye(3), -np.eye(3)]), every=every)
    np.testing.assert_allclose(path.change[:, 0], np.sin(times / 50) / 100, atol=1e-12)
    source = constant(np.array([np.eye(3), -np.eye(3)]))
    np.testing.assert_allclose(
        polarization_path(frames[:600], source, every=every).change, path.change[:600], atol=1e-12
    )
    assert [stretch.start for stretch in intervals(iter(frames), source, 300)] == [0, 300, 600, 900]


def test_long_paths_are_never_held_as_a_whole() -> None:
    import weakref

    alive: set[int] = set()
    most = 0
    atoms = crystals.rocksalt()

    def stream() -> Iterator[ase.Atoms]:
        nonlocal most
        for index in range(1000):
            frame = atoms.copy()
            alive.add(index)
            weakref.finalize(frame, alive.discard, index)
            most = max(most, len(alive))
            yield frame

    assert len(polarization_path(stream(), charges(atoms)).change) == 1000
    assert 100 < most < 700


def test_strain_at_fixed_fractional_coordinates_is_left_out() -> None:
    atoms = crystals.wurtzite()
    z = charges(atoms)
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + np.diag([0, 0, 0.02])), scale_atoms=True)
    with pytest.raises(InputError, match="the cell of frame 1 differs"):
        polarization_path([atoms, strained], z)
    np.testing.assert_allclose(polarization_path([atoms, strained], z, variable_cell=True).change, 0, atol=1e-14)


def test_internal_strain_in_a_changing_cell() -> None:
    """One step with constant Z: the mean of Z u / V with u = s C of both ends."""
    atoms = crystals.wurtzite()
    z = charges(atoms)
    shift = np.zeros((4, 3))
    shift[:2, 2] = 0.01  # fractional, along c
    relaxed = atoms.copy()
    relaxed.set_cell(atoms.cell.array @ (np.eye(3) + np.diag([0, 0, 0.02])), scale_atoms=True)
    relaxed.set_scaled_positions(relaxed.get_scaled_positions(wrap=False) + shift)
    path = polarization_path([atoms, relaxed], z, variable_cell=True)
    ends = [np.einsum("aij,aj->i", z, shift @ frame.cell.array) / frame.get_volume() for frame in (atoms, relaxed)]
    np.testing.assert_allclose(path.change[1], np.mean(ends, axis=0), atol=1e-14)
    np.testing.assert_allclose(path.volumes, [atoms.get_volume(), 1.02 * atoms.get_volume()])


def test_the_quantum_is_what_moving_a_unit_charge_through_the_cell_adds() -> None:
    atoms = crystals.nameless()
    z = np.array([np.eye(3), -np.eye(3), 0 * np.eye(3), 0 * np.eye(3)])
    around = [displaced(atoms, np.outer([1, 0, 0, 0], k / 8 * atoms.cell.array[1])) for k in range(9)]
    path = polarization_path(around, z)
    np.testing.assert_allclose(path.change[-1], path.quanta[1], atol=1e-12)
    np.testing.assert_allclose(wrap_polarization(path.change[-1], path.quanta), 0, atol=1e-12)
    small = np.array([0.001, -0.002, 0.0005])
    np.testing.assert_allclose(
        wrap_polarization(small + np.array([3, -1, 2]) @ path.quanta, path.quanta), small, atol=1e-12
    )


def test_a_model_gives_the_charges(caplog: pytest.LogCaptureFixture) -> None:
    atoms = crystals.lead_titanate()
    settings = Settings(properties=("born_charges",))
    ends = [displaced(atoms, 0.05 * k * np.outer([0, 1, 0, 0, 0], [0, 0, 1])) for k in (0, 1)]
    z = [prediction.values["born_charges"] for prediction in voigt.predict(ends, settings=settings)]
    path = polarization_path(ends)
    # The center of mass moves along, which neutral charges do not notice.
    expected = (z[0] + z[1])[1] @ [0, 0, 0.05] / 2 / atoms.get_volume()
    np.testing.assert_allclose(path.change[1], expected, atol=1e-6)
    assert path.si[1, 2] > 0.05  # titanium carries more than four charges
    source = predicted_charges()
    for _ in range(2):
        source([bulk("Mg")])
    assert sum("probably a metal" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atoms: atoms[[1, 0]], "frame 1 has other atoms"),
        (lambda atoms: atoms * (2, 1, 1), "frame 1 has other atoms"),
        (lambda atoms: displaced(atoms, np.full((2, 3), np.nan)), "frame 1 has positions that are not finite"),
    ],
)
def test_frames_that_do_not_follow_are_named(change: object, message: str) -> None:
    atoms = crystals.rocksalt()
    with pytest.raises(InputError, match=message):
        polarization_path([atoms, change(atoms)], charges(atoms))


def test_other_bad_input_is_named() -> None:
    atoms = crystals.rocksalt()
    with pytest.raises(InputError, match="at least one frame"):
        polarization_path([], charges(atoms))
    with pytest.raises(InputError, match=r"must be \(n_atoms, 3, 3\)"):
        polarization_path([atoms], np.eye(3))
    with pytest.raises(InputError, match="do not fit"):
        polarization_path([atoms], np.zeros((3, 3, 3)))
    with pytest.raises(InputError, match="not finite"):
        polarization_path([atoms], np.full((2, 3, 3), np.nan))
    with pytest.raises(InputError, match="frame 0 has a cell without volume"):
        polarization_path([ase.Atoms("NaCl", positions=atoms.positions)], charges(atoms))
    with pytest.raises(InputError, match="every must be"):
        polarization_path([atoms], charges(atoms), every=0)
    np.testing.assert_allclose(polarization_path([atoms], charges(atoms)).change, np.zeros((1, 3)))


def test_factor_to_si() -> None:
    assert pytest.approx(16.02176634) == COULOMB_PER_SQUARE_METER
