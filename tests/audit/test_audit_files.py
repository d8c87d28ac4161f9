"""The audit of whole files: duplicates, order of findings, report, cleaned copy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from tests import crystals

from voigt.audit import MEANING, audit_file, summary_rows, write_clean, write_report
from voigt.audit.orientations import orientations
from voigt.audit.report import page
from voigt.data.tensor_symmetry import projected, turned
from voigt.errors import InputError, OutputError, TargetError
from voigt.structures.symmetry import find_symmetry
from voigt.tensors import PROPERTIES
from voigt.tensors.layout import flat

PIEZO = PROPERTIES["piezo_total"]


def salt(k: int, split: str = "train", scale: float = 1.0, eps: float = 2.3) -> ase.Atoms:
    atoms = crystals.rocksalt()
    atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
    atoms.info.update(id=f"salt-{k}", split=split, functional="PBE", eps_inf=eps * np.eye(3).ravel())
    return atoms


def written(path: Path, frames: list[ase.Atoms]) -> Path:
    ase.io.write(path, frames, format="extxyz")
    return path


def found(path: Path) -> dict[str, list[tuple[int, str]]]:
    kinds: dict[str, list[tuple[int, str]]] = {}
    for finding in audit_file(path, models=False).findings:
        kinds.setdefault(finding.kind, []).append((finding.frame, finding.severity))
    return kinds


def test_a_sound_file_has_no_findings(tmp_path: Path) -> None:
    result = audit_file(written(tmp_path / "a.extxyz", [salt(0)]), models=False)
    assert result.findings == ()
    assert not result.has_errors
    assert result.labels() == {"eps_inf": 1}


def test_the_same_crystal_in_two_parts_is_an_error(tmp_path: Path) -> None:
    assert found(written(tmp_path / "a.extxyz", [salt(0), salt(1, "test")]))["leak"] == [(1, "error")]
    assert "leak" not in found(written(tmp_path / "b.extxyz", [salt(0), salt(1)]))


def test_a_strained_copy_in_another_cell_is_a_duplicate(tmp_path: Path) -> None:
    big = salt(1, scale=1.01).repeat((1, 2, 1))
    big.rotate(30, (1, 1, 0), rotate_cell=True)
    kinds = found(written(tmp_path / "a.extxyz", [salt(0), big]))
    assert kinds["duplicate"] == [(1, "info")]


def test_near_duplicates_and_different_crystals(tmp_path: Path) -> None:
    near, far = crystals.perovskite(), crystals.perovskite()
    near.positions[1, 2] += 0.005
    far.positions[1, 2] += 0.15
    frames = [crystals.perovskite(), near, far]
    for k, atoms in enumerate(frames):
        atoms.info.update(id=f"p{k}", functional="PBE", split="train", band_gap=1.8)
    kinds = found(written(tmp_path / "a.extxyz", frames))
    assert kinds["near_duplicate"] == [(1, "info")]
    assert "duplicate" not in kinds


def test_labels_of_one_crystal_that_contradict(tmp_path: Path) -> None:
    assert "contradiction" in found(written(tmp_path / "a.extxyz", [salt(0), salt(1, eps=4.0)]))
    assert "contradiction" not in found(written(tmp_path / "b.extxyz", [salt(0), salt(1, eps=2.4)]))


def test_functionals_of_one_crystal_are_no_duplicates(tmp_path: Path) -> None:
    other = salt(1)
    other.info["functional"] = "PBEsol"
    kinds = found(written(tmp_path / "a.extxyz", [salt(0), other]))
    assert "duplicate" not in kinds
    assert "functionals_mixed" in kinds


def test_broken_frames_are_named_and_the_rest_is_audited(tmp_path: Path) -> None:
    path = written(tmp_path / "a.extxyz", [salt(0), salt(1, eps=0.5)])
    with path.open("a") as stream:
        stream.write("3\nnothing here\nNa 0 0\n")
    result = audit_file(path, models=False)
    assert result.unreadable == 1
    kinds = {finding.kind for finding in result.findings}
    assert {"unreadable", "bound"} <= kinds


def test_findings_are_in_order_and_their_kinds_declared(tmp_path: Path) -> None:
    result = audit_file(written(tmp_path / "a.extxyz", [salt(0), salt(1, eps=0.5), salt(2, "test")]), models=False)
    ranks = [("error", "warning", "info").index(finding.severity) for finding in result.findings]
    assert ranks == sorted(ranks)
    assert {finding.kind for finding in result.findings} <= MEANING.keys()


def test_files_without_labels_or_structures_are_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="holds no labels"):
        audit_file(written(tmp_path / "a.extxyz", [crystals.rocksalt()]), models=False)
    with pytest.raises(InputError, match="no such file"):
        audit_file(tmp_path / "b.extxyz", models=False)


@pytest.fixture
def rotated(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    """Piezoelectric tensors in the axes of the IEEE standard, one label that breaks a bound, and one sound frame."""
    frames, truths = [], []
    for k, make in enumerate((crystals.wurtzite, crystals.quartz, crystals.lead_titanate) * 3):
        atoms = make()
        atoms.rotate(20.0 + 31.0 * k, (1.0, 0.3 * k, 1.5 - k % 3), rotate_cell=True)
        # No two are the same crystal, nor nearly.
        atoms.set_cell(atoms.cell.array * (1 + 0.01 * k), scale_atoms=True)
        random = np.random.default_rng(k).normal(size=(3, 6))
        truth = projected(PIEZO, PIEZO.from_storage(random), find_symmetry(atoms))
        ieee = next(entry.rotation for entry in orientations(atoms) if entry.name == "ieee")
        atoms.info = {
            "id": f"c{k}",
            "functional": "PBE",
            "piezo_total": flat(PIEZO, turned(PIEZO, truth, ieee.T[None])[0]),
        }
        frames.append(atoms)
        truths.append(truth)
    frames += [salt(9, eps=0.4), salt(10)]
    return written(tmp_path / "rotated.extxyz", frames), truths


def test_the_cleaned_copy_is_mended_and_says_how(rotated: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    path, truths = rotated
    result = audit_file(path, models=False)
    changed = write_clean(result, tmp_path / "clean.extxyz")
    clean = ase.io.read(tmp_path / "clean.extxyz", ":")
    before = ase.io.read(path, ":")
    assert len(clean) == len(before) == 11
    assert changed == 10
    for old, new, truth in zip(before, clean, truths, strict=False):
        mended = PIEZO.from_storage(np.asarray(new.info["piezo_total"]).reshape(3, 6))
        assert mended == pytest.approx(truth, abs=1e-4)
        assert "turned by" in new.info["audit"]
        assert new.positions == pytest.approx(old.positions)
        assert new.info["id"] == old.info["id"]
    assert "eps_inf" not in clean[9].info
    assert "eps_inf dropped: eps_inf: an eigenvalue is 0.4" in clean[9].info["audit"]
    assert "audit" not in clean[10].info
    assert "eps_inf" in clean[10].info
    again = audit_file(tmp_path / "clean.extxyz", models=False)
    assert not again.has_errors
    assert again.repairs == ()


def test_the_cleaned_copy_is_extended_xyz(rotated: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"choose \.extxyz"):
        write_clean(audit_file(rotated[0], models=False), tmp_path / "clean.cif")


def test_the_report_holds_every_finding(rotated: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    result = audit_file(rotated[0], models=False)
    data, html = write_report(result, tmp_path / "report")
    record = json.loads(data.read_text())
    assert len(record["findings"]) == len(result.findings)
    assert sum(record["counts"].values()) == len(result.findings)
    assert record["counts"]["error"] > 9
    assert np.array(record["findings"][1]["rotation"]).shape == (3, 3)
    text = html.read_text()
    assert "wrong_frame" in text
    assert "<script" not in text
    assert not re.search(r"https?://", text)
    for _, kind, *_ in summary_rows(result)[1:]:
        assert f"-{kind}-" in text


def test_names_of_strangers_are_escaped_on_the_page(tmp_path: Path) -> None:
    frame = salt(0, eps=0.5)
    frame.info["id"] = "<b>x</b>"
    text = page(audit_file(written(tmp_path / "a.extxyz", [frame]), models=False))
    assert "<b>x" not in text
    assert "&lt;b&gt;x" in text


def test_near_duplicates_of_a_trajectory_are_found(dft_data: Callable[[str], Path]) -> None:
    """Frames 0 and 1, and 59 and 60, differ by 0.006 Angstrom rms."""
    result = audit_file(dft_data("born/batio3_md.extxyz"), models=False)
    near = [finding for finding in result.findings if finding.kind == "near_duplicate"]
    assert [(finding.frame, finding.text.split("frame ")[1].split()[0]) for finding in near] == [(1, "0"), (60, "59")]
    assert not result.has_errors


@pytest.mark.slow
def test_open_shells_of_a_phonon_database_are_found(dft_data: Callable[[str], Path]) -> None:
    """All that its flag `trusted` excludes, and nothing else."""
    result = audit_file(dft_data("born/phonondb.extxyz"), models=False, limit=800)
    doubted = {f.index for f in result.frames if not f.crystal.atoms.info["trusted"]}
    assert {finding.frame for finding in result.findings if finding.kind == "open_shell"} == doubted
    assert doubted
