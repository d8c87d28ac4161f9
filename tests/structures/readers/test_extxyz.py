"""A broken structure is named with its lines, and those around it are delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from tests.structures.inputs import good, is_sound, labeled, rocksalt, same_crystal, trouble, write_structures

from voigt.structures import read


def test_many_structures_keep_arrays_and_info(tmp_path: Path) -> None:
    path = tmp_path / "many.extxyz"
    write_structures(path, 5)
    structures = list(read(path))
    assert [structure.id for structure in structures] == [f"zno-{k}" for k in range(5)]
    assert [structure.index for structure in structures] == list(range(5))
    for structure, expected in zip(structures, ase.io.read(path, ":"), strict=True):
        atoms = good(structure)
        assert atoms == expected
        assert atoms.arrays.keys() == expected.arrays.keys()
        assert np.array_equal(atoms.arrays["born_charges"], expected.arrays["born_charges"])
        assert np.array_equal(atoms.info["eps_inf"], expected.info["eps_inf"])
        assert atoms.info.keys() == expected.info.keys()


def test_real_data_agree_with_ase(dft_data: Callable[[str], Path]) -> None:
    path = dft_data("born/zro2_defects.extxyz")
    structures = list(read(path))
    expected = ase.io.read(path, ":")
    assert len(structures) == len(expected) == 30
    assert all(good(structure) == atoms for structure, atoms in zip(structures, expected, strict=True))
    assert [structure.id for structure in structures] == [atoms.info["id"] for atoms in expected]


def spoil_count(structure: list[str], text: str) -> list[str]:
    return [text + "\n", *structure[1:]]


def spoil_row(structure: list[str], change: Callable[[list[str]], list[str]]) -> list[str]:
    return [*structure[:3], " ".join(change(structure[3].split())) + "\n", *structure[4:]]


SPOILT: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "column missing": (lambda f: spoil_row(f, lambda v: v[:-1]), "line 16 has 12 columns instead of 13"),
    "column surplus": (lambda f: spoil_row(f, lambda v: [*v, "1.0"]), "line 16 has 14 columns instead of 13"),
    "not a number": (lambda f: spoil_row(f, lambda v: [*v[:2], "***", *v[3:]]), "line 16: '***' in column pos"),
    "element": (lambda f: spoil_row(f, lambda v: ["Qq", *v[1:]]), "line 16: unknown element 'Qq'"),
    "deuterium": (lambda f: spoil_row(f, lambda v: ["D", *v[1:]]), "write H"),
    "blank row": (lambda f: [*f[:3], "\n", *f[4:]], "line 16 has 0 columns"),
    "NaN": (lambda f: spoil_row(f, lambda v: [v[0], "nan", *v[2:]]), "the position of atom 1 (O) is not finite"),
    "row missing": (lambda f: f[:-1], "line 13 promises 4 atoms, but 3 follow, up to line 17"),
    "row surplus": (lambda f: [*f, f[-1]], "line 13 promises 4 atoms, but more follow, up to line 19"),
    "row surplus after a blank": (
        lambda f: [*f, "\n", f[-1]],
        "line 13 promises 4 atoms, but more follow, up to line 20",
    ),
    "count too high by one": (lambda f: spoil_count(f, "5"), "line 13 promises 5 atoms, but 4 follow"),
    "count too high by two": (lambda f: spoil_count(f, "6"), "line 13 promises 6 atoms, but 4 follow"),
    "count far too high": (lambda f: spoil_count(f, "999999"), "line 13 promises 999999 atoms, but 4 follow"),
    "count too low": (lambda f: spoil_count(f, "2"), "line 13 promises 2 atoms, but more follow, up to line 18"),
    "count zero": (lambda f: spoil_count(f, "0"), "holds no atoms"),
    "count spoilt": (lambda f: spoil_count(f, "4x"), "lines 13 to 18 are not a frame"),
    "count negative": (lambda f: spoil_count(f, "-4"), "lines 13 to 18 are not a frame"),
    "count missing": (lambda f: f[1:], "lines 13 to 17 are not a frame"),
    "comment missing": (lambda f: [f[0], *f[2:]], "line 13 promises 4 atoms, but 3 follow"),
    "lattice short": (lambda f: [f[0], f[1].replace('Lattice="', 'Lattice="1 2 3" other="'), *f[2:]], "Lattice"),
    "pbc": (lambda f: [f[0], f[1].replace('pbc="T T T"', 'pbc="T T F"'), *f[2:]], 'pbc="T T F"'),
    "properties": (lambda f: [f[0], f[1].replace("species:S:1:", "species:S:"), *f[2:]], "Properties="),
    "no positions": (lambda f: [f[0], f[1].replace("pos:R:3", "xyz:R:3"), *f[2:]], "add pos:R:3"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_broken_structure_is_named_and_the_others_delivered(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "many.xyz"
    structures = write_structures(path)
    change, shown = SPOILT[fault]
    structures[2] = change(structures[2])
    assert path.read_text() != "".join(map("".join, structures))
    path.write_text("".join(map("".join, structures)))
    entries = list(read(path))
    assert [structure.id for structure in entries if is_sound(structure)] == ["zno-0", "zno-1", "zno-3"]
    # A structure of no atoms leaves its rows behind, which are a second loss.
    bad = [structure for structure in entries if not is_sound(structure)]
    assert len(bad) == (2 if fault == "count zero" else 1)
    assert bad[0].index == 2
    assert bad[0].id == ("many:2" if fault == "comment missing" else "zno-2")
    assert shown in trouble(bad[0])
    assert bad[0].reason == f"{path}, frame 2 (id {bad[0].id}): {trouble(bad[0])}"
    for structure, expected in zip([f for f in entries if is_sound(f)], (0, 1, 3), strict=True):
        assert np.allclose(good(structure).positions, labeled(f"zno-{expected}").positions, atol=1e-7)


@pytest.mark.parametrize("keep", range(1, 6))
def test_truncated_last_structure(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.xyz"
    structures = write_structures(path)
    path.write_text("".join(map("".join, structures[:3])) + "".join(structures[3][:keep]))
    entries = list(read(path))
    assert [is_sound(structure) for structure in entries] == [True, True, True, False]
    assert entries[3].id == ("cut:3" if keep == 1 else "zno-3")
    assert ("the file ends" if keep == 1 else "promises 4 atoms") in trouble(entries[3])


def test_garbage_between_structures_and_at_the_ends(tmp_path: Path) -> None:
    path = tmp_path / "many.xyz"
    structures = write_structures(path)
    first, second, third, fourth = ("".join(structure) for structure in structures)
    path.write_text(f"# written by hand\n{first}\n{second}\n\nEND OF RUN 1\n{third}{fourth}\nEND\n")
    entries = list(read(path))
    assert [structure.id for structure in entries if is_sound(structure)] == ["zno-0", "zno-1", "zno-2", "zno-3"]
    assert [structure.index for structure in entries if not is_sound(structure)] == [0, 3, 6]
    assert "lines 1 to 1 are not a frame" in trouble(entries[0])
    assert "'END OF RUN 1'" in trouble(entries[3])


def test_line_ends_byte_order_mark_and_foreign_letters(tmp_path: Path) -> None:
    path = tmp_path / "many.xyz"
    structures = write_structures(path)
    text = "".join(map("".join, structures)).replace("\n", "\r\n").replace("split=train", "author=Müller", 1)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8"))
    entries = list(read(path))
    assert [structure.id for structure in entries if is_sound(structure)] == ["zno-0", "zno-1", "zno-2", "zno-3"]
    assert good(entries[0]).info["author"] == "Müller"
    path.write_bytes(text.encode("latin-1"))
    assert all(is_sound(structure) for structure in read(path))


def test_cell_as_pseudo_atoms(tmp_path: Path) -> None:
    path = tmp_path / "vec.xyz"
    ase.io.write(path, [rocksalt(), rocksalt()], format="extxyz", vec_cell=True)
    structures = list(read(path))
    assert len(structures) == 2
    for structure in structures:
        assert same_crystal(good(structure), rocksalt())


def test_structures_are_streamed(tmp_path: Path) -> None:
    """The first structures of a text come before the rest of it is read."""
    from voigt.structures.readers.extxyz import read_extxyz

    path = tmp_path / "many.xyz"
    structures = write_structures(path)
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            for line in structures[0]:
                taken += 1
                yield line

    parsed = read_extxyz(endless())
    for count in range(1, 20):
        assert is_sound(next(parsed))
        assert taken <= 6 * count + 2
