"""Tensors in other axes or orders are found, named and mended; sound ones are left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import ase
import numpy as np
import pytest
from ase.spacegroup import crystal
from scipy.spatial.transform import Rotation
from tests import crystals

from voigt.audit.alignment import align
from voigt.audit.conventions import check_conventions
from voigt.audit.frames import Frame
from voigt.audit.hypotheses import MANDEL, ORDERS, changes, reordered
from voigt.audit.orientations import orientations
from voigt.data.labeled import LabeledCrystal
from voigt.data.tensor_symmetry import allowed_components, deviations, projected, turned
from voigt.structures.symmetry import Symmetry, find_symmetry
from voigt.tensors import PROPERTIES

PIEZO, ELASTIC, EPS, BORN = (PROPERTIES[name] for name in ("piezo_total", "elastic", "eps_inf", "born_charges"))
Make = Callable[[ase.Atoms, Symmetry, int], np.ndarray]


def piezo(_: ase.Atoms, symmetry: Symmetry, seed: int) -> np.ndarray:
    """A piezoelectric tensor that the crystal's symmetry allows."""
    tensor = PIEZO.from_storage(np.random.default_rng(seed).normal(size=(3, 6)))
    return projected(PIEZO, tensor, symmetry)


def stiffness(_: ase.Atoms, symmetry: Symmetry, seed: int) -> np.ndarray:
    """A positive definite stiffness that the crystal's symmetry allows."""
    root = np.random.default_rng(seed).normal(size=(6, 6))
    return projected(ELASTIC, ELASTIC.from_storage(60 * np.eye(6) + 15 * root @ root.T), symmetry)


def frame_of(atoms: ase.Atoms, name: str, tensor: np.ndarray, index: int = 0) -> Frame:
    crystal = LabeledCrystal(f"c{index}", "memory", atoms, {name: tensor}, "PBE", "train", "X")
    return Frame(index, crystal, find_symmetry(atoms))


def family(count: int, of: Sequence[Callable[[], ase.Atoms]]) -> list[ase.Atoms]:
    """Crystals in axes of their own."""
    found = []
    for k in range(count):
        atoms = of[k % len(of)]()
        atoms.rotate(20.0 + 31.0 * k, (1.0, 0.3 * k, 1.5 - k % 3), rotate_cell=True)
        found.append(atoms)
    return found


def cotunnite() -> ase.Atoms:
    """PbCl2, 62 (Pnma): its shortest axis is b, so that the standard cell is not in the order of the IEEE standard."""
    return crystal(
        ["Pb", "Cl", "Cl"],
        [(0.2463, 0.25, 0.0955), (0.8585, 0.25, 0.0741), (0.9473, 0.25, 0.8395)],
        spacegroup=62,
        cellpar=[7.62, 4.53, 9.05, 90, 90, 90],
    )


POLAR = (crystals.wurtzite, crystals.quartz, crystals.lead_titanate, crystals.zincblende)
STIFF = (crystals.quartz, crystals.corundum, cotunnite, crystals.baddeleyite, crystals.anatase)


def test_sound_tensors_give_no_findings() -> None:
    for prop, make, kinds in ((PIEZO, piezo, POLAR), (ELASTIC, stiffness, STIFF)):
        frames = [
            frame_of(atoms, prop.name, make(atoms, find_symmetry(atoms), k), k)
            for k, atoms in enumerate(family(8, kinds))
        ]
        assert check_conventions(frames, prop)[:2] == ([], [])


@pytest.mark.parametrize("convention", ["ieee", "standardized", "conventional c along z"])
@pytest.mark.parametrize(("prop", "make", "kinds"), [(PIEZO, piezo, POLAR), (ELASTIC, stiffness, STIFF)])
def test_tensors_in_the_axes_of_a_convention_are_turned_back(prop, make, kinds, convention) -> None:
    frames, truths = [], []
    for k, atoms in enumerate(family(12, kinds)):
        truth = make(atoms, find_symmetry(atoms), k)
        rotation = next(entry.rotation for entry in orientations(atoms) if entry.name == convention)
        frames.append(frame_of(atoms, prop.name, turned(prop, truth, rotation.T[None])[0], k))
        truths.append(truth)
    findings, repairs, verdict = check_conventions(frames, prop)
    assert verdict.mended >= 8
    assert verdict.share == 1.0
    assert {finding.kind for finding in findings} <= {"wrong_frame", "frame_undecided"}
    assert all(finding.rotation for finding in findings if finding.frame >= 0)
    assert repairs
    for repair in repairs:  # each repair gives the tensor that was there, or one that symmetry cannot tell from it
        wrong = frames[repair.frame].crystal.targets[prop.name]
        mended = turned(prop, wrong, np.array(repair.rotation)[None])[0]
        assert deviations(prop, mended[None], frames[repair.frame].symmetry)[0] < 0.01
        if not verdict.rivals:
            assert mended == pytest.approx(truths[repair.frame], abs=0.02 * np.abs(truths[repair.frame]).max())


def test_a_choice_that_no_crystal_can_make_is_not_made() -> None:
    """The stiffness of mmm crystals obeys symmetry in any order of the axes; quartz and anatase agree in both."""
    frames, truths = [], []
    for k, atoms in enumerate(family(24, (crystals.quartz, cotunnite, crystals.anatase))):
        truth = stiffness(atoms, find_symmetry(atoms), k)
        rotation = next(entry.rotation for entry in orientations(atoms) if entry.name == "ieee")
        frames.append(frame_of(atoms, "elastic", turned(ELASTIC, truth, rotation.T[None])[0], k))
        truths.append(truth)
    findings, repairs, verdict = check_conventions(frames, ELASTIC)
    assert verdict.share == 1.0
    assert {"ieee", "standardized"} <= {verdict.name, *verdict.rivals}
    assert len(repairs) >= 14
    assert {repair.frame for repair in repairs} <= {k for k in range(24) if k % 3 != 1}
    open_questions = [finding for finding in findings if "other changes would mend it" in finding.text]
    assert {finding.frame for finding in open_questions} == {k for k in range(24) if k % 3 == 1}
    for repair in repairs:
        wrong = frames[repair.frame].crystal.targets["elastic"]
        mended = turned(ELASTIC, wrong, np.array(repair.rotation)[None])[0]
        assert mended == pytest.approx(truths[repair.frame], abs=0.5)


def test_the_order_of_vasp_is_named_and_put_right() -> None:
    frames, truths = [], []
    for k, atoms in enumerate(family(8, (crystals.wurtzite, crystals.lead_titanate, crystals.quartz))):
        truth = piezo(atoms, find_symmetry(atoms), k)
        printed = PIEZO.to_storage(truth)[:, [0, 1, 2, 5, 3, 4]]  # xx yy zz xy yz zx
        frames.append(frame_of(atoms, "piezo_total", PIEZO.from_storage(printed), k))
        truths.append(truth)
    findings, repairs, verdict = check_conventions(frames, PIEZO)
    assert verdict.name == "order xx yy zz xy yz zx"
    assert [finding.kind for finding in findings] == ["wrong_order"] * len(findings)
    assert {repair.frame for repair in repairs} == set(range(8))
    for repair in repairs:
        mended = reordered(PIEZO, frames[repair.frame].crystal.targets["piezo_total"], repair.order)
        assert mended == pytest.approx(truths[repair.frame], abs=1e-9)


def test_every_order_is_undone_by_its_entry() -> None:
    stored = np.arange(18.0).reshape(3, 6)
    names = ["xx", "yy", "zz", "yz", "zx", "xy"]
    for order in ORDERS:
        printed = stored[:, [names.index(name) for name in order.split()]]
        back = reordered(PIEZO, PIEZO.from_storage(printed), order)
        assert PIEZO.to_storage(back) == pytest.approx(stored), order


def test_mandel_notation_is_told_by_a_hexagonal_crystal() -> None:
    """C66 = (C11 - C12) / 2 holds in Voigt notation alone."""
    atoms = crystals.wurtzite()
    symmetry = find_symmetry(atoms)
    voigt = ELASTIC.to_storage(stiffness(atoms, symmetry, 0))
    factors = np.array([1.0] * 3 + [np.sqrt(2.0)] * 3)
    wrong = ELASTIC.from_storage(voigt * factors * factors[:, None])
    before = float(deviations(ELASTIC, wrong[None], symmetry)[0])
    names = [change.name for change in changes(ELASTIC, wrong, atoms, symmetry, before)]
    assert f"order {MANDEL}" in names


def test_a_rotation_of_no_convention_is_found_by_the_search() -> None:
    atoms = crystals.quartz()
    symmetry = find_symmetry(atoms)
    rotation = Rotation.from_rotvec([0.5, 0.9, -0.3]).as_matrix()
    wrong = turned(ELASTIC, stiffness(atoms, symmetry, 3), rotation[None])[0]
    found, left = align(ELASTIC, wrong, symmetry)
    assert left < 1e-3
    assert deviations(ELASTIC, turned(ELASTIC, wrong, found[None]), symmetry)[0] < 1e-3
    findings, repairs, _ = check_conventions([frame_of(atoms, "elastic", wrong)], ELASTIC)
    assert [finding.kind for finding in findings] == ["wrong_frame"]
    assert "no convention" in findings[0].text
    assert repairs == []  # it is not known what was done


def test_what_nothing_mends_is_dropped() -> None:
    atoms = crystals.rocksalt()
    tensor = np.diag([2.0, 3.0, 4.0])  # a cubic crystal has one permittivity
    findings, repairs, _ = check_conventions([frame_of(atoms, "eps_inf", tensor)], EPS)
    assert [(finding.kind, finding.severity) for finding in findings] == [("symmetry", "error")]
    assert findings[0].value == pytest.approx(np.sqrt(2.0 / 29.0))
    assert [(repair.action, repair.property) for repair in repairs] == [("drop", "eps_inf")]


def test_piezoelectricity_of_a_centrosymmetric_crystal_contradicts_it() -> None:
    atoms = crystals.rocksalt()
    tensor = PIEZO.from_storage(np.ones((3, 6)))
    findings, _, _ = check_conventions([frame_of(atoms, "piezo_total", tensor)], PIEZO)
    assert findings[0].kind == "symmetry"
    assert findings[0].value == pytest.approx(1.0)


def test_born_charges_in_other_axes_are_found() -> None:
    atoms = crystals.lead_titanate()
    symmetry = find_symmetry(atoms)
    z = projected(BORN, np.random.default_rng(0).normal(size=(5, 3, 3)) + 3 * np.eye(3), symmetry)
    assert check_conventions([frame_of(atoms, "born_charges", z)], BORN)[0] == []
    tilted = turned(BORN, z, Rotation.from_rotvec([0, np.pi / 2, 0]).as_matrix()[None])[0]
    findings, _, _ = check_conventions([frame_of(atoms, "born_charges", tilted)], BORN)
    assert [finding.kind for finding in findings] == ["wrong_frame"]


def test_predictions_choose_between_conventions_that_symmetry_allows() -> None:
    """The stiffness of orthorhombic crystals obeys mmm in any order of the axes."""
    frames, predicted = [], {}
    for k, atoms in enumerate(family(24, (crystals.quartz, cotunnite))):
        truth = stiffness(atoms, find_symmetry(atoms), k)
        rotation = next(entry.rotation for entry in orientations(atoms) if entry.name == "standardized")
        frames.append(frame_of(atoms, "elastic", turned(ELASTIC, truth, rotation.T[None])[0], k))
        predicted[k] = 1.02 * truth
    alone = check_conventions(frames, ELASTIC)[2]
    helped = check_conventions(frames, ELASTIC, predicted)[2]
    assert helped.name == "standardized"
    assert helped.rivals == ()
    assert helped.votes > 5
    assert helped.agreeing == helped.votes
    assert alone.rivals or alone.name != "standardized"


def test_components_that_symmetry_leaves() -> None:
    """Nye: 1 for zincblende, 3 for wurtzite, 2 for quartz, none with a center of inversion."""
    makers = (crystals.zincblende, crystals.wurtzite, crystals.quartz, crystals.rocksalt)
    assert [allowed_components(PIEZO, find_symmetry(make())) for make in makers] == [1, 3, 2, 0]


def test_operations_that_are_no_group_leave_it_open() -> None:
    symmetry = find_symmetry(crystals.quartz())
    some = np.stack([np.eye(3), Rotation.from_rotvec([0.0, 0.0, 0.3]).as_matrix()])
    assert allowed_components(PIEZO, replace(symmetry, rotations=some)) is None
