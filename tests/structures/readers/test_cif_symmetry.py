"""Operations of CIFs: for every setting of the International Tables all atoms are there, or the file is refused."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import spglib
from ase.cell import Cell
from numpy.typing import NDArray
from tests.structures.inputs import good, is_sound, only, trouble
from tests.structures.readers.cif_texts import ROCK_SALT, cif, operations

from voigt.errors import InputError
from voigt.structures.readers.cif import read_cif
from voigt.structures.readers.hall_symbols import hall_operations

SETTINGS = range(1, 531)
SITES = {"Mg": (0.1234, 0.3045, 0.0711), "O": (0.3819, 0.1477, 0.2703)}
"""General positions of every group."""


@lru_cache(maxsize=530)
def setting(hall: int) -> tuple[Any, NDArray[np.int64], NDArray[np.float64]]:
    found: Any = spglib.get_symmetry_from_database(hall)
    return spglib.get_spacegroup_type(hall), found["rotations"], found["translations"]


def crystal_text(hall: int, symmetry: str, more: str = "") -> str:
    """A crystal with two general sites in a cell that has the rotations of the setting and no others."""
    _, rotations, _ = setting(hall)
    start = Cell.new([39.1, 44.3, 51.9, 81, 97, 104]).array  # large: no image is close to another
    metric = np.mean([w.T @ start @ start.T @ w for w in rotations], axis=0)
    parameters = [f"{value:.6f}" for value in Cell.new(np.linalg.cholesky(metric)).cellpar()]
    sites = "\n".join(f"{name}1 {name} {x} {y} {z}" for name, (x, y, z) in SITES.items())
    return cif(sites, symmetry, parameters, more)


def is_complete(structure: Any, hall: int) -> bool:
    """Whether atoms are exactly the images of both sites under the setting's operations."""
    _, rotations, translations = setting(hall)
    atoms = good(structure)
    images = np.concatenate([rotations @ np.array(place) + translations for place in SITES.values()])
    if len(atoms) != len(images) or atoms.numbers.tolist().count(8) * 2 != len(atoms):
        return False
    difference = atoms.get_scaled_positions()[:, None] - images
    distance = np.abs(difference - np.rint(difference)).max(axis=-1)
    return bool(distance.min(axis=1).max() < 1e-5 and len(set(distance.argmin(axis=1).tolist())) == len(images))


def test_hall_symbols_give_all_atoms_of_all_settings() -> None:
    for hall in SETTINGS:
        symbol = setting(hall)[0].hall_symbol.replace("=", '"')
        quote = ";" if '"' in symbol and "'" in symbol else "'" if '"' in symbol else '"'
        value = f"\n;{symbol}\n;\n" if quote == ";" else f"{quote}{symbol}{quote}"
        (structure,) = read_cif(crystal_text(hall, f"_symmetry_space_group_name_Hall {value}"))
        assert is_complete(structure, hall), (hall, symbol, structure)


def test_full_symbols_with_their_choice_give_all_atoms() -> None:
    """The few symbols that two settings share are refused."""
    refused = []
    for hall in SETTINGS:
        kind = setting(hall)[0]
        name = kind.international_full + (f" :{kind.choice}" if kind.choice else "")
        (structure,) = read_cif(crystal_text(hall, f"_space_group_name_H-M_alt '{name}'"))
        if is_sound(structure):
            assert is_complete(structure, hall), (hall, name)
        else:
            refused.append(hall)
            assert "does not say which" in trouble(structure), (hall, name)
    assert len(refused) <= 3


@pytest.mark.parametrize("what", ["full", "short", "number"])
def test_incomplete_statements_give_all_atoms_or_none(what: str) -> None:
    """Without origin or axes, a name is enough where only one setting fits the cell."""
    read = 0
    for hall in SETTINGS:
        kind = setting(hall)[0]
        if what == "number":
            symmetry = f"_space_group_IT_number {kind.number}"
            if kind.choice not in ("", "1", "2", "H", "R", "b", "b1"):
                continue  # a number stands for the standard setting
        else:
            short = (
                kind.international_short if not 3 <= kind.number <= 15 else kind.international_full.replace(" 1", "")
            )
            symmetry = f"_symmetry_space_group_name_H-M '{kind.international_full if what == 'full' else short}'"
        (structure,) = read_cif(crystal_text(hall, symmetry))
        if is_sound(structure):
            read += 1
            assert is_complete(structure, hall), (hall, symmetry)
        else:
            assert "does not say which" in trouble(structure), (hall, symmetry)
    assert read > {"full": 400, "short": 400, "number": 200}[what]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("C -1", 4), ("I-1", 4), ("F -1", 8), ("I 1 2/a 1", 8), ("I2/a", 8), ("A 1 2/n 1", 8), ("P 1 21/n 1", 4),
        ("P21/n", 4), ("P 2_1/n", 4), ("P 1 21/c 1", 4), ("P2(1)/c", 4),
    ],
)  # fmt: skip
def test_low_symmetry_names(name: str, order: int) -> None:
    sites = "Mg1 Mg 0.1234 0.2345 0.0711\nO1 O 0.3819 0.1477 0.2703"
    cell = (9.1, 10.3, 11.9, 81, 97, 104) if name.endswith("-1") else (9.1, 10.3, 11.9, 90, 97, 90)
    (structure,) = read_cif(cif(sites, f"_symmetry_space_group_name_H-M '{name}'", cell))
    assert len(good(structure)) == 2 * order


@pytest.mark.parametrize(
    "name", ["F d -3 m :1", "F d -3 m S", "Fd-3m:2", "F d -3 m Z", "F d 3 m (origin choice 2)", "F d -3 m"]
)
def test_diamond_in_both_origins(name: str) -> None:
    """At the wrong origin there would be sixteen atoms; formula units settle what the name leaves open."""
    first = name[-1] in "1S"
    places = (
        {True: ("0 0 0",), False: ("0.125 0.125 0.125",)}[first]
        if name != "F d -3 m"
        else ("0 0 0", "0.125 0.125 0.125")
    )
    for place in places:
        more = "_chemical_formula_sum Si\n_cell_formula_units_Z 8"
        text = cif(f"Si1 Si {place}", f"_space_group_name_H-M_alt '{name}'", (5.43, 5.43, 5.43, 90, 90, 90), more)
        atoms = good(only(read_cif(text)))
        assert len(atoms) == 8
        distances = atoms.get_all_distances(mic=True)
        assert distances[distances > 0].min() == pytest.approx(5.43 * np.sqrt(3) / 4)
    text = cif("Si1 Si 0.1 0.2 0.3", "_space_group_name_H-M_alt 'F d -3 m'", (15, 15, 15, 90, 90, 90))
    assert "does not say which" in trouble(only(read_cif(text)))


@pytest.mark.parametrize("name", ["R -3 m", "R-3m:H", "R -3 m H", "R -3 m :R", "R -3 m R"])
def test_rhombohedral_axes_are_those_of_the_cell(name: str) -> None:
    sites = "As1 As 0 0 0.227" if name[-1] != "R" else "As1 As 0.227 0.227 0.227"
    cell = (3.76, 3.76, 10.55, 90, 90, 120) if name[-1] != "R" else (4.13, 4.13, 4.13, 54.1, 54.1, 54.1)
    atoms = good(only(read_cif(cif(sites, f"_symmetry_space_group_name_H-M '{name}'", cell))))
    assert len(atoms) == (2 if name[-1] == "R" else 6)
    other = (4.13, 4.13, 4.13, 54.1, 54.1, 54.1) if ":H" in name or name.endswith(" H") else (5, 6, 7, 90, 90, 90)
    text = cif(sites, f"_symmetry_space_group_name_H-M '{name}'", other)
    assert "would change the lengths and angles" in trouble(only(read_cif(text)))


def test_face_centered_tetragonal_cell() -> None:
    """CuAu-like order in the cell with axes a + b and -a + b."""
    symmetry = "_symmetry_space_group_name_H-M 'F4/mmm'\n_symmetry_Int_Tables_number 139"
    atoms = good(only(read_cif(cif("Al1 Al 0 0 0\nTi1 Ti 0 0 0.5", symmetry, (5.4, 5.4, 8.6, 90, 90, 90)))))
    assert atoms.get_chemical_formula() == "Al4Ti4"


@pytest.mark.parametrize(
    "text", ["-P 2ybc (x-z,y,z)", "P 2 2 (0 0 1)", "C 2y (x,y,-x+z)", "-C 1", "P 4n 2n -1n (x-1/4,y,z)"]
)
def test_hall_symbols_outside_the_tables_are_groups(text: str) -> None:
    rotations, translations = hall_operations(text)
    keys = {
        (w.tobytes(), tuple(np.rint(t * 24).astype(int) % 24)) for w, t in zip(rotations, translations, strict=True)
    }
    assert len(keys) == len(rotations) in (4, 16)
    for w, t in zip(rotations, translations, strict=True):
        products = {
            ((w @ v).tobytes(), tuple(np.rint((w @ s + t) * 24).astype(int) % 24))
            for v, s in zip(rotations, translations, strict=True)
        }
        assert products == keys


def test_change_of_basis_of_a_hall_symbol() -> None:
    """P 1 21/c 1 with the axes of P 1 21/n 1 (International Tables, 4.3.2); a doubled cell has twice the operations."""

    def keys(symbol: str) -> set[tuple[bytes, tuple[int, ...]]]:
        pairs = zip(*hall_operations(symbol), strict=True)
        return {(w.tobytes(), tuple((np.rint(t * 24).astype(int) % 24).tolist())) for w, t in pairs}

    assert keys("-P 2ybc (x-z,y,z)") == keys("-P 2yn")
    assert len(keys("P 1 (1/2*x,y,z)")) == 2


@pytest.mark.parametrize("text", ["", "Q 2", "P 7", "P 2 3 5q", "P 2y (x,y)", "P 2y (x,x,x)", "P 4 (1/2*x,y,z)"])
def test_no_hall_symbol(text: str) -> None:
    with pytest.raises(InputError):
        hall_operations(text)


# ---- listed operations


IDENTITY = "x,y,z"
P4MM = (IDENTITY, "-x,-y,z", "-y,x,z", "y,-x,z", "x,-y,z", "-x,y,z", "y,x,z", "-y,-x,z")


@pytest.mark.parametrize(
    "texts",
    [
        ("x,y,z", "-x,-y,z+1/2"),
        ("X, Y, Z", "-X, -Y, 1/2+Z"),
        ("+x,+y,+z", "-x , -y , z + .5"),
        ("x,y,z", "-x,-y,0.5+z"),
        ("x,y,z", "-x,-y,z-1/2"),
        ("x,y,z", "-1*x,-y,z+3/6"),
        ("-x,-y,z+0.500",),  # the identity left out
        ("x,y,z", "x,y,z", "-x,-y,z+1/2", "-x,-y,z+3/2"),  # twice
        ("\u2212x,\u2212y,z+1/2", "x,y,z"),
    ],
)
def test_spellings_of_operations(texts: tuple[str, ...]) -> None:
    for tag in ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz", "_space_group_symop.operation_xyz"):
        text = cif("Mg1 Mg 0.1 0.2 0.3", operations(texts, tag), (4, 5, 6, 90, 90, 90))
        places = good(only(read_cif(text))).get_scaled_positions()
        order = places[:, 0].argsort()
        assert places[order] == pytest.approx(np.array([[0.1, 0.2, 0.3], [0.9, 0.8, 0.8]]))


def test_operations_without_quotes() -> None:
    text = cif("Mg1 Mg 0.1 0.2 0.3", "loop_\n_symmetry_equiv_pos_as_xyz\nx, y, z\n-x, -y, z", (4, 5, 6, 90, 90, 90))
    assert len(good(only(read_cif(text)))) == 2
    text = cif("Mg1 Mg 0.1 0.2 0.3", "_symmetry_equiv_pos_as_xyz x,y,z", (4, 5, 6, 90, 90, 90))
    assert len(good(only(read_cif(text)))) == 1


def test_thirds_with_few_digits() -> None:
    texts = ("x,y,z", "-y,x-y,z+0.333", "-x+y,-x,z+0.667")
    atoms = good(only(read_cif(cif("Se1 Se 0.22 0 0", operations(texts), (4.37, 4.37, 4.95, 90, 90, 120)))))
    assert sorted(atoms.get_scaled_positions()[:, 2]) == pytest.approx([0, 1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("symmetry", "cell", "shown"),
    [
        (operations(["x,y,z", "-y,x,z"]), (4, 4, 5, 90, 90, 90), "no group, some are missing"),
        (operations(["x,y,z", "x,y"]), (4, 4, 5, 90, 90, 90), "'x,y'"),
        (operations(["x,y,z", "x,y,w"]), (4, 4, 5, 90, 90, 90), "'x,y,w'"),
        (operations(["x,y,z", "x,y,z+1/0"]), (4, 4, 5, 90, 90, 90), "1/0"),
        (operations(["x,y,z", "x,y,1/0z"]), (4, 4, 5, 90, 90, 90), "1/0z"),
        (operations(["x,y,z", "x,x,z"]), (4, 4, 5, 90, 90, 90), "no rotation or reflection"),
        (operations(P4MM), (4, 4.5, 5, 90, 90, 90), "would change the lengths and angles"),
        (operations([IDENTITY, "-x,-y,z"]) + "_symmetry_space_group_name_H-M 'P 4 m m'", (4, 4, 5, 90, 90, 90),
         "lists 2 operations in _symmetry_equiv_pos_as_xyz, but the group in _symmetry_space_group_name_H-M has 8"),
        (operations(P4MM) + "_symmetry_Int_Tables_number 123", (4, 4, 5, 90, 90, 90), "has 16"),
        ("_symmetry_space_group_name_H-M 'P 9 q'", (4, 4, 5, 90, 90, 90), "no known space group"),
        ("_symmetry_space_group_name_H-M 'F 9 q'\n_symmetry_Int_Tables_number 225", (4, 4, 4, 90, 90, 90), "no known"),
        ("_symmetry_space_group_name_H-M Pm-3m\n_symmetry_Int_Tables_number 225", (4, 4, 4, 90, 90, 90), "different"),
        ("_symmetry_space_group_name_H-M 'P 63 m c'", (4, 4, 5, 90, 90, 90), "would change the lengths and angles"),
    ],
)  # fmt: skip
def test_operations_that_cannot_be_right(symmetry: str, cell: tuple[float, ...], shown: str) -> None:
    assert shown in trouble(only(read_cif(cif("Mg1 Mg 0.1 0.2 0.3", symmetry, cell))))


def test_sites_listed_in_full_need_no_operations() -> None:
    """Some programs keep the name of the group and write all atoms."""
    every = "\n".join(
        f"{symbol}{k} {symbol} {x} {y} {z}"
        for symbol, shift in (("Mg", 0.0), ("O", 0.5))
        for k, (x, y, z) in enumerate(
            (np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) + shift) % 1.0
        )
    )
    name = "_symmetry_space_group_name_H-M 'F m -3 m'\n"
    assert len(good(only(read_cif(cif(every, name + operations([IDENTITY])))))) == 8
    assert len(good(only(read_cif(cif(every, name))))) == 8
    half = cif(ROCK_SALT, name + operations([IDENTITY]))
    assert "lists 1 operations" in trouble(only(read_cif(half)))


def test_primitive_cell_with_the_name_of_its_group() -> None:
    cell = (3.009, 3.009, 3.009, 60, 60, 60)
    found: Any = spglib.get_symmetry_dataset((Cell.new(cell).array, [[0, 0, 0], [0.5, 0.5, 0.5]], [12, 8]))
    texts = [
        ",".join(
            "".join(f"{'+' if v > 0 else '-'}{axis}" for v, axis in zip(row, "xyz", strict=True) if v) for row in w
        )
        for w in found.rotations
    ]
    name = "_symmetry_space_group_name_H-M 'F m -3 m'\n"
    assert len(good(only(read_cif(cif(ROCK_SALT, name + operations(texts), cell))))) == 2
