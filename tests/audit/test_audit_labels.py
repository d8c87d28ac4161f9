"""Checks of labels by themselves, of crystals, and of labels against predictions."""

from __future__ import annotations

from dataclasses import replace

import ase
import ase.build
import numpy as np
import pytest
from tests import crystals
from tests.predictions import made_up

from voigt.audit.crystals import check_crystal, check_functionals
from voigt.audit.frames import Frame, read_frame
from voigt.audit.labels import check_labels
from voigt.audit.model import Compared, check_property
from voigt.data.labeled import labeled
from voigt.tensors import PROPERTIES


def frame_of(atoms: ase.Atoms, functional: str | None = "PBE", index: int = 0, **labels: object) -> Frame:
    for name, value in labels.items():
        prop = PROPERTIES[name]
        (atoms.arrays if prop.per == "atom" else atoms.info)[name] = value
    frame, findings, _ = read_frame(index, labeled(f"c{index}", "memory", atoms, {}, functional), 1e-3)
    assert findings == []
    return frame


def kinds(frame: Frame) -> list[tuple[str, str, str]]:
    return [(f.kind, f.severity, f.property) for f in check_labels(frame)[0]]


def test_labels_that_cannot_be_read_are_named_and_dropped() -> None:
    atoms = crystals.rocksalt()
    atoms.info["eps_inf"] = np.full(9, np.nan)
    atoms.info["elastic"] = np.ones(35)
    atoms.info["eps_total"] = "many"
    frame, findings, repairs = read_frame(0, labeled("a", "memory", atoms, {}, None), 1e-3)
    found = {(finding.kind, finding.property) for finding in findings}
    assert found == {("not_finite", "eps_inf"), ("wrong_shape", "elastic"), ("wrong_shape", "eps_total")}
    assert {repair.property for repair in repairs} == {"eps_inf", "elastic", "eps_total"}
    assert frame.crystal.targets == {}


def test_bounds() -> None:
    salt = crystals.rocksalt
    assert kinds(frame_of(salt(), eps_inf=2.3 * np.eye(3))) == []
    assert kinds(frame_of(salt(), eps_inf=0.8 * np.eye(3))) == [("bound", "error", "eps_inf")]
    soft = np.diag([100.0, 100, 100, 50, 50, 50])
    soft[:3, :3] += 120 - 240 * np.eye(3)
    assert ("bound", "error", "elastic") in kinds(frame_of(salt(), elastic=soft))
    assert kinds(frame_of(salt(), band_gap=-0.5)) == [("bound", "error", "band_gap")]
    assert kinds(frame_of(salt(), eps_total=900 * np.eye(3))) == [("implausible", "warning", "eps_total")]


def test_a_bound_that_is_broken_drops_the_label() -> None:
    _, repairs = check_labels(frame_of(crystals.rocksalt(), eps_inf=0.8 * np.eye(3)))
    assert [(repair.action, repair.property) for repair in repairs] == [("drop", "eps_inf")]


def test_eps_total_is_the_sum_of_its_parts() -> None:
    parts = {"eps_inf": 2.0 * np.eye(3), "eps_ionic": 3.0 * np.eye(3)}
    assert kinds(frame_of(crystals.rocksalt(), **parts, eps_total=5.0 * np.eye(3))) == []
    assert kinds(frame_of(crystals.rocksalt(), **parts, eps_total=3.0 * np.eye(3))) == [
        ("sum_of_parts", "error", "eps_total")
    ]


def test_asymmetric_permittivity_and_stiffness() -> None:
    skew = 3.0 * np.eye(3)
    skew[0, 1] = 1.0
    assert ("not_symmetric", "error", "eps_inf") in kinds(frame_of(crystals.copper_tungstate(), eps_inf=skew))
    stiff = np.diag([200.0, 200, 200, 80, 80, 80])
    stiff[0, 1] = 150.0
    assert ("not_symmetric", "error", "elastic") in kinds(frame_of(crystals.copper_tungstate(), elastic=stiff))


def test_zeros_where_symmetry_allows_values() -> None:
    assert kinds(frame_of(crystals.wurtzite(), piezo_total=np.zeros((3, 6)))) == [
        ("zero_tensor", "warning", "piezo_total")
    ]
    assert kinds(frame_of(crystals.rocksalt(), piezo_total=np.zeros((3, 6)))) == []  # a center of inversion
    assert kinds(frame_of(crystals.rocksalt(), eps_inf=np.zeros(9))) == [("zero_tensor", "error", "eps_inf")]
    silicon = ase.build.bulk("Si")
    assert kinds(frame_of(silicon, eps_ionic=np.zeros(9))) == []  # atoms of an element carry no charge


@pytest.mark.parametrize(("excess", "severity"), [(0.03, None), (0.2, "warning"), (1.5, "error")])
def test_sum_rule(excess: float, severity: str | None) -> None:
    z = np.stack([(1.1 + excess) * np.eye(3), -1.1 * np.eye(3)])
    found = kinds(frame_of(crystals.rocksalt(), born_charges=z.reshape(2, 9)))
    assert found == ([] if severity is None else [("sum_rule", severity, "born_charges")])


def test_sum_rule_of_a_charged_cell() -> None:
    atoms = crystals.rocksalt()
    atoms.info["charge"] = 1
    z = np.stack([2.1 * np.eye(3), -1.1 * np.eye(3)])
    assert kinds(frame_of(atoms, born_charges=z.reshape(2, 9))) == []


def test_crystals_whose_response_means_nothing() -> None:
    gold = ase.build.bulk("Au")
    found = list(check_crystal(frame_of(gold, eps_inf=5 * np.eye(3))))
    assert [finding.kind for finding in found] == ["metal"]
    assert list(check_crystal(frame_of(ase.build.bulk("Au"), elastic=100 * np.eye(6)))) == []
    stated = list(check_crystal(frame_of(crystals.rocksalt(), eps_inf=5 * np.eye(3), band_gap=0.0), rules=False))
    assert [finding.kind for finding in stated] == ["metal"]


def test_open_shells_without_spin() -> None:
    oxide = ase.build.bulk("NiO", "rocksalt", a=4.17)
    eps = 5 * np.eye(3)
    assert [f.kind for f in check_crystal(frame_of(oxide.copy(), "PBEsol", eps_inf=eps))] == ["open_shell"]
    assert list(check_crystal(frame_of(oxide.copy(), "PBE", eps_inf=eps))) == []
    oxide.info["spin"] = "none"
    assert [f.kind for f in check_crystal(frame_of(oxide.copy(), "PBE", eps_inf=eps))] == ["open_shell"]
    oxide.info["spin"] = "collinear"
    assert list(check_crystal(frame_of(oxide, "PBEsol", eps_inf=eps))) == []


def test_cells_that_are_not_primitive() -> None:
    found = list(check_crystal(frame_of(crystals.rocksalt(cubic=True), eps_inf=2.3 * np.eye(3))))
    assert [(finding.kind, finding.value) for finding in found] == [("not_primitive", 4.0)]


def test_functionals() -> None:
    eps = 2.3 * np.eye(3)
    frames = [frame_of(crystals.rocksalt(), name, k, eps_inf=eps) for k, name in enumerate(["PBE", "PBEsol", None])]
    found = {finding.kind: finding for finding in check_functionals(frames)}
    assert found["functionals_mixed"].value == 2
    assert found["functional_missing"].value == 1
    assert list(check_functionals(frames[:1])) == []


def compared(name: str, factor: float, count: int = 12, noise: float = 0.05) -> list[Compared]:
    """Labels that are predictions times a factor, and some noise."""
    rng = np.random.default_rng(0)
    prop, entries = PROPERTIES[name], []
    for k in range(count):
        atoms = crystals.wurtzite()
        prediction = made_up(atoms, f"p{k}", (name,), seed=k)
        value = prediction.values[name] * {"GPa": 100.0, "e": 2.0}.get(prop.unit, 1.0)
        width = np.full(len(atoms) if prop.per == "atom" else (), 0.3 * np.linalg.norm(value))
        label = factor * value * (1 + noise * rng.normal())
        frame = frame_of(atoms, index=k)
        frame = replace(frame, crystal=replace(frame.crystal, targets={name: label}))
        entries.append(Compared(frame, replace(prediction, interval={name: width}), label, value))
    return entries


@pytest.mark.parametrize(
    ("name", "factor", "words"),
    [("elastic", 10.0, "kBar"), ("elastic", 0.1, "divided by 10"), ("piezo_clamped", 1 / 16.02, "e/Angstrom")],
)
def test_a_wrong_unit_is_named(name: str, factor: float, words: str) -> None:
    found = check_property(PROPERTIES[name], compared(name, factor))
    assert [(finding.kind, finding.severity) for finding in found] == [("units", "error")]
    assert words in found[0].text
    assert found[0].value == pytest.approx(factor, rel=0.1)


def test_right_labels_give_nothing() -> None:
    for name in ("elastic", "piezo_clamped", "born_charges", "eps_inf"):
        assert check_property(PROPERTIES[name], compared(name, 1.0)) == []


def test_a_reversed_sign() -> None:
    found = check_property(PROPERTIES["piezo_clamped"], compared("piezo_clamped", -1.0))
    assert ("reversed", 1.0) in [(finding.kind, finding.value) for finding in found]


def test_exchanged_indices_of_born_charges() -> None:
    entries = compared("born_charges", 1.0)
    exchanged = [replace(entry, label=entry.label.transpose(0, 2, 1)) for entry in entries]
    found = check_property(PROPERTIES["born_charges"], exchanged)
    assert "transposed" in [finding.kind for finding in found]


def test_an_outlier_is_reported_for_its_frame_alone() -> None:
    entries = compared("eps_inf", 1.0)
    entries[3] = replace(entries[3], label=entries[3].label + 40.0)
    found = check_property(PROPERTIES["eps_inf"], entries)
    assert [(finding.kind, finding.frame) for finding in found] == [("outlier", 3)]
