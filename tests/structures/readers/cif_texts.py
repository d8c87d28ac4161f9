"""CIFs as text, made of a cell, a symmetry and sites."""

from __future__ import annotations

from collections.abc import Sequence

LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z")
CUBIC = (4.2553, 4.2553, 4.2553, 90, 90, 90)
ROCK_SALT = "Mg1 Mg 0 0 0\nO1 O 0.5 0.5 0.5"
FM3M = "_symmetry_space_group_name_H-M 'F m -3 m'"


def cell_items(parameters: Sequence[object]) -> str:
    return "".join(f"{tag} {value}\n" for tag, value in zip((*LENGTHS, *ANGLES), parameters, strict=True))


def cif(
    sites: str = ROCK_SALT,
    symmetry: str = FM3M,
    cell: Sequence[object] = CUBIC,
    more: str = "",
    columns: Sequence[str] = COLUMNS,
    name: str = "x",
) -> str:
    """A block; `more` are further items, `columns` those of the sites without their common beginning."""
    names = "".join(f"_atom_site_{column}\n" for column in columns)
    return f"data_{name}\n{more}\n{cell_items(cell)}{symmetry}\nloop_\n{names}{sites}\n"


def operations(texts: Sequence[str], tag: str = "_symmetry_equiv_pos_as_xyz") -> str:
    return f"loop_\n{tag}\n" + "".join(f"'{text}'\n" for text in texts)
