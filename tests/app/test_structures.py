"""Uploads as structures: names say the format and nothing else, sizes are bounded."""

from __future__ import annotations

import gzip
import io
import lzma

import ase
import ase.io
import pytest
from ase.build import bulk
from tests import crystals

from voigt.app import structures
from voigt.app.problems import RequestError
from voigt.app.schema import StructureArrays
from voigt.app.structures import Upload, only_structure, plain_name, structures_of
from voigt.notes import Failure
from voigt.structures import InputStructure


def poscar(atoms: ase.Atoms) -> bytes:
    stream = io.StringIO()
    ase.io.write(stream, atoms, format="vasp")
    return stream.getvalue().encode()


NAMES = ("", ".", "..", "/", "a/", "a/..", "../../x", "C:\\x\\y", "a\nb", "\u2028", "\ud800", "\0", " ", "a\x1b[31m")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_part_of_a_path_on_one_line(name: str) -> None:
    plain = plain_name(name)
    assert plain
    assert plain not in (".", "..")
    assert "/" not in plain
    assert "\\" not in plain
    assert len(plain.splitlines()) == 1


def test_the_format_is_that_of_the_name_or_of_the_first_lines() -> None:
    content = poscar(crystals.rutile())
    for name in ("TiO2.vasp", "POSCAR", "structure", "TiO2.vasp.gz"):
        packed = gzip.compress(content) if name.endswith(".gz") else content
        (found,) = structures_of(Upload(name, packed))
        assert isinstance(found, InputStructure)
        assert (len(found.atoms), found.source) == (6, name)
    (found,) = structures_of(Upload("TiO2.cif", content))
    assert isinstance(found, Failure)
    assert found.reason.startswith("TiO2.cif, frame 0 (id TiO2): ")


def test_a_packed_bomb_does_not_go_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, packed in (
        ("a.cif.gz", gzip.compress(bytes(34_000_000), 1)),
        ("a.cif.xz", lzma.compress(bytes(34_000_000), preset=0)),
    ):
        (found,) = structures_of(Upload(name, packed))
        assert isinstance(found, Failure)
        assert "unfolds to more than" in found.problem
    (found,) = structures_of(Upload("a.cif.gz", gzip.compress(poscar(bulk("Cu")))[:-20]))
    assert isinstance(found, Failure)
    monkeypatch.setattr(structures, "MOST_UNPACKED", 100)
    with pytest.raises(RequestError) as refused:  # of a ratio that structure files have
        structures_of(Upload("a.vasp.gz", gzip.compress(poscar(bulk("Cu")))))
    assert refused.value.status == 413


def test_a_database_is_not_opened() -> None:
    (found,) = structures_of(Upload("a.db", b"SQLite format 3\0" + bytes(1000)))
    assert isinstance(found, Failure)
    assert "ASE database" in found.problem


def test_arrays_become_a_checked_crystal() -> None:
    arrays = StructureArrays(
        cell=[[3, 0, 0], [0, 3, 0], [0, 0, 3]], species=["Cs", "Cl"], positions=[[0] * 3, [1.5] * 3]
    )
    (found,) = structures_of(Upload("salt", arrays=arrays))
    assert isinstance(found, InputStructure)
    assert (found.id, found.atoms.get_chemical_formula(), found.atoms.pbc.all()) == ("salt", "ClCs", True)
    flat = arrays.model_copy(update={"cell": [[3, 0, 0], [6, 0, 0], [0, 0, 3]]})
    with pytest.raises(RequestError) as refused:
        only_structure(Upload("salt", arrays=flat))
    assert refused.value.problem.kind == "unreadable"
    two = b"".join(b'1\nLattice="3 0 0 0 3 0 0 0 3"\nCu 0 0 0\n' for _ in range(2))
    with pytest.raises(RequestError) as refused:
        only_structure(Upload("a.xyz", two))
    assert "more than one frame" in refused.value.problem.text
