"""Small crystals as plain numbers, and the text of each in the formats that the readers take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Crystal:
    """Symbols, row vectors of the cell in Angstrom, fractional coordinates."""

    id: str
    symbols: tuple[str, ...]
    cell: tuple[Vector, ...]
    frac: tuple[Vector, ...]

    @property
    def positions(self) -> list[list[float]]:
        return [[sum(f * self.cell[j][i] for j, f in enumerate(row)) for i in range(3)] for row in self.frac]

    @property
    def groups(self) -> list[tuple[str, list[Vector]]]:
        """Atoms by element, in the order in which elements come first."""
        found: dict[str, list[Vector]] = {symbol: [] for symbol in self.symbols}
        for symbol, row in zip(self.symbols, self.frac, strict=True):
            found[symbol].append(row)
        return list(found.items())

    @property
    def parameters(self) -> Vector:
        """Lengths and angles in degrees."""
        lengths = [math.sqrt(sum(x * x for x in row)) for row in self.cell]
        angles = []
        for i, j in ((1, 2), (0, 2), (0, 1)):
            product = lengths[i] * lengths[j]
            cosine = sum(a * b for a, b in zip(self.cell[i], self.cell[j], strict=True)) / product if product else 0.0
            angles.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) if cosine == cosine else cosine)
        return (*lengths, *angles)


def _box(a: float, b: float | None = None, c: float | None = None) -> tuple[Vector, ...]:
    return ((a, 0.0, 0.0), (0.0, b or a, 0.0), (0.0, 0.0, c or b or a))


_H = 0.5
_HALF = ((0.0, 0.0, 0.0), (_H, _H, _H))
# Lattice constants of the literature; ids share no letters with numbers, so that no change turns one into another.
CRYSTALS = (
    Crystal("alpha", ("Mg", "O"), ((0.0, 2.1068, 2.1068), (2.1068, 0.0, 2.1068), (2.1068, 2.1068, 0.0)), _HALF),
    Crystal("beta", ("Na", "Cl"), ((0.0, 2.8201, 2.8201), (2.8201, 0.0, 2.8201), (2.8201, 2.8201, 0.0)), _HALF),
    Crystal("gamma", ("Ba", "Ti", "O", "O", "O"), _box(4.01),
            (*_HALF, (_H, _H, 0.0), (_H, 0.0, _H), (0.0, _H, _H))),
    Crystal("delta", ("Zn", "Zn", "O", "O"), ((3.25, 0.0, 0.0), (-1.625, 2.8146, 0.0), (0.0, 0.0, 5.207)),
            ((1 / 3, 2 / 3, 0.0), (2 / 3, 1 / 3, _H), (1 / 3, 2 / 3, 0.3825), (2 / 3, 1 / 3, 0.8825))),
    Crystal("epsilon", ("Ti", "Ti", "O", "O", "O", "O"), _box(4.594, 4.594, 2.959),
            (*_HALF, (0.305, 0.305, 0.0), (0.695, 0.695, 0.0), (0.195, 0.805, _H), (0.805, 0.195, _H))),
    Crystal("zeta", ("Ca", "F", "F"), ((0.0, 2.7315, 2.7315), (2.7315, 0.0, 2.7315), (2.7315, 2.7315, 0.0)),
            ((0.0, 0.0, 0.0), (0.25, 0.25, 0.25), (0.75, 0.75, 0.75))),
    Crystal("eta", ("Li", "Nb", "O", "O", "O"), _box(4.0, 4.1, 4.2),
            ((0.01, 0.0, 0.0), (_H, _H, 0.49), (_H, _H, 0.03), (_H, 0.02, _H), (0.0, _H, _H))),
)  # fmt: skip


NUMBERS = {"Mg": 12, "O": 8, "Na": 11, "Cl": 17, "Ba": 56, "Ti": 22, "Zn": 30, "Ca": 20, "F": 9, "Li": 3, "Nb": 41}


def _row(values: Sequence[float]) -> str:
    return " ".join(f"{value:.10g}" for value in values)


def _rows(rows: Sequence[Sequence[float]], indent: str = "") -> str:
    return "".join(f"{indent}{_row(row)}\n" for row in rows)


def _atoms(crystal: Crystal, form: str = "{symbol} {place}\n", frac: bool = True) -> str:
    places = crystal.frac if frac else crystal.positions
    return "".join(
        form.format(symbol=symbol, place=_row(place), k=k + 1)
        for k, (symbol, place) in enumerate(zip(crystal.symbols, places, strict=True))
    )


def cif(crystal: Crystal) -> str:
    a, b, c, alpha, beta, gamma = (f"{value:.8g}" for value in crystal.parameters)
    return (
        f"data_{crystal.id}\n_cell_length_a {a}\n_cell_length_b {b}\n_cell_length_c {c}\n_cell_angle_alpha {alpha}\n"
        f"_cell_angle_beta {beta}\n_cell_angle_gamma {gamma}\n_symmetry_space_group_name_H-M 'P 1'\n"
        "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n"
        + _atoms(crystal, "{symbol}{k} {symbol} {place} 1.0\n")
        + "\n"
    )


def symmetric_cif(crystal: Crystal) -> str:
    """Rock salt with its space group by name and number, uncertainties and a text in several lines; the id is kept."""
    return (
        f"data_{crystal.id}\n_publ_section_title\n;\nA title\n;\n_chemical_formula_sum 'Mg O'\n"
        "_cell_formula_units_Z 4\n"
        "_cell_length_a 4.2136(3)\n_cell_length_b 4.2136(3)\n_cell_length_c 4.2136(3)\n_cell_angle_alpha 90\n"
        "_cell_angle_beta 90\n_cell_angle_gamma 90.\n_space_group_name_H-M_alt 'F m -3 m'\n_space_group_IT_number 225\n"
        "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n"
        "Mg1 0 0 0 1\nO1 0.5 0.5 0.5 1\n\n"
    )


def magnetic_cif(crystal: Crystal) -> str:
    return cif(crystal).replace(
        "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n",
        "_space_group_magn.number_BNS 1.1\n_space_group_magn.name_BNS 'P 1'\n"
        "loop_\n_space_group_symop_magn_operation.id\n"
        "_space_group_symop_magn_operation.xyz\n1 x,y,z,+1\nloop_\n_space_group_symop_magn_centering.id\n"
        "_space_group_symop_magn_centering.xyz\n1 x,y,z,+1\n",
    ) + ("loop_\n_atom_site_moment.label\n_atom_site_moment.crystalaxis_x\n_atom_site_moment.crystalaxis_y\n"
         f"_atom_site_moment.crystalaxis_z\n{crystal.symbols[0] if crystal.symbols else 'X'}1 0 0 1.5\n\n")  # fmt: skip


def poscar(crystal: Crystal) -> str:
    names, counts = " ".join(s for s, _ in crystal.groups), " ".join(str(len(rows)) for _, rows in crystal.groups)
    places = "".join(_rows(rows) for _, rows in crystal.groups)
    return f"{crystal.id}\n1.0\n{_rows(crystal.cell, '  ')}{names}\n{counts}\nDirect\n{places}"


def extxyz(crystal: Crystal) -> str:
    cell = " ".join(_row(row) for row in crystal.cell)
    return (
        f'{len(crystal.symbols)}\nLattice="{cell}" Properties=species:S:1:pos:R:3 pbc="T T T" id={crystal.id} '
        f'note="a remark" energy=-1.5\n{_atoms(crystal, frac=False)}'
    )


def pymatgen(crystal: Crystal) -> dict[str, Any]:
    a, b, c, alpha, beta, gamma = crystal.parameters
    sites = [
        {"species": [{"element": s, "occu": 1}], "abc": list(f), "xyz": p, "label": s, "properties": {"magmom": 0.0}}
        for s, f, p in zip(crystal.symbols, crystal.frac, crystal.positions, strict=True)
    ]
    return {
        "@module": "pymatgen.core.structure", "@class": "Structure", "charge": 0,
        "lattice": {"matrix": [list(row) for row in crystal.cell], "pbc": [True, True, True], "a": a, "b": b, "c": c,
                    "alpha": alpha, "beta": beta, "gamma": gamma, "volume": 1.0},
        "properties": {}, "sites": sites,
    }  # fmt: skip


def json_line(crystal: Crystal) -> dict[str, Any]:
    return {"id": crystal.id, "structure": pymatgen(crystal), "band_gap": 1.5, "tags": ["a", "b"]}


def optimade(crystal: Crystal) -> dict[str, Any]:
    kinds = sorted(set(crystal.symbols))
    return {
        "id": crystal.id, "type": "structures",
        "attributes": {
            "nsites": len(crystal.symbols), "nperiodic_dimensions": 3, "dimension_types": [1, 1, 1],
            "lattice_vectors": [list(row) for row in crystal.cell], "cartesian_site_positions": crystal.positions,
            "species_at_sites": list(crystal.symbols), "elements": kinds, "structure_features": [],
            "species": [{"name": s, "chemical_symbols": [s], "concentration": [1.0]} for s in kinds],
        },
    }  # fmt: skip


def jarvis(crystal: Crystal) -> dict[str, Any]:
    return {
        "jid": crystal.id,
        "atoms": {
            "lattice_mat": [list(row) for row in crystal.cell], "coords": [list(row) for row in crystal.frac],
            "elements": list(crystal.symbols), "cartesian": False, "abc": crystal.parameters[:3],
            "angles": crystal.parameters[3:], "props": [""] * len(crystal.symbols),
        },
        "optb88vdw_bandgap": 1.5,
    }  # fmt: skip


def vasprun(crystal: Crystal) -> str:
    atoms = "".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in crystal.symbols)
    cell = "".join(f"<v>{_row(row)}</v>\n" for row in crystal.cell)
    places = "".join(f"<v>{_row(row)}</v>\n" for row in crystal.frac)
    forces = "".join("<v>0 0 0</v>\n" for _ in crystal.frac)
    born = "<set><v>1.9 0 0</v><v>0 1.9 0</v><v>0 0 1.9</v></set>" * len(crystal.frac)
    structure = (
        f'<structure>\n<crystal>\n<varray name="basis">\n{cell}</varray>\n<i name="volume">1</i>\n</crystal>\n'
        f'<varray name="positions">\n{places}</varray>\n</structure>\n'
    )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<generator><i name="program" type="string">vasp</i>'
        '<i name="version" type="string">6.3.0</i></generator>\n<kpoints>\n<varray name="kpointlist">\n<v>0 0 0</v>'
        '</varray>\n<varray name="weights"><v>1</v></varray></kpoints>\n<parameters></parameters>\n<atominfo>\n'
        f"<atoms>{len(crystal.symbols)}</atoms>\n"
        f'<types>1</types>\n<array name="atoms"><set>{atoms}</set></array>\n</atominfo>\n'
        f'<structure name="initialpos">\n{structure.partition(chr(10))[2]}'
        f'<calculation>\n{structure}<varray name="forces">\n{forces}</varray>\n'
        '<energy><i name="e_fr_energy">-1.0</i><i name="e_wo_entrp">-1.0</i><i name="e_0_energy">-1.0</i></energy>\n'
        '<scstep><energy><i name="e_fr_energy">-1.0</i><i name="e_wo_entrp">-1.0</i>'
        '<i name="e_0_energy">-1.0</i></energy>'
        '</scstep>\n<varray name="epsilon"><v>3.1 0 0</v><v>0 3.1 0</v><v>0 0 3.1</v></varray>\n'
        '<array name="born_charges">'
        f"{born}</array>\n</calculation>\n</modeling>\n"
    )


# Input and output files of other codes


def espresso(crystal: Crystal) -> str:
    kinds = [symbol for symbol, _ in crystal.groups]
    species = "".join(f"{symbol} 10.0 {symbol}.UPF\n" for symbol in kinds)
    return (
        "&control\ncalculation='scf'\n/\n&system\nibrav=0\n"
        f"nat={len(crystal.symbols)}\nntyp={len(kinds)}\necutwfc=40.0\n/\n&electrons\n/\nATOMIC_SPECIES\n{species}"
        f"K_POINTS gamma\nCELL_PARAMETERS angstrom\n{_rows(crystal.cell)}ATOMIC_POSITIONS crystal\n{_atoms(crystal)}"
    )


def aims(crystal: Crystal) -> str:
    vectors = "".join(f"lattice_vector {_row(row)}\n" for row in crystal.cell)
    return vectors + _atoms(crystal, "atom_frac {place} {symbol}\n")


def castep(crystal: Crystal) -> str:
    return (
        f"%BLOCK LATTICE_CART\n{_rows(crystal.cell)}%ENDBLOCK LATTICE_CART\n\n"
        f"%BLOCK POSITIONS_FRAC\n{_atoms(crystal)}%ENDBLOCK POSITIONS_FRAC\n"
    )


def cp2k(crystal: Crystal) -> str:
    cell = "".join(f"{name} {_row(row)}\n" for name, row in zip("ABC", crystal.cell, strict=True))
    return (
        f"&FORCE_EVAL\n&SUBSYS\n&CELL\n{cell}&END CELL\n&COORD\nSCALED\n{_atoms(crystal)}&END COORD\n"
        "&END SUBSYS\n&END FORCE_EVAL\n"
    )


def siesta(crystal: Crystal) -> str:
    kinds = [symbol for symbol, _ in crystal.groups]
    labels = "".join(f"{k + 1} {NUMBERS.get(symbol, 0)} {symbol}\n" for k, symbol in enumerate(kinds))
    places = "".join(
        f"{_row(row)} {kinds.index(s) + 1}\n" for s, row in zip(crystal.symbols, crystal.frac, strict=True)
    )
    return (
        f"NumberOfAtoms {len(crystal.symbols)}\nNumberOfSpecies {len(kinds)}\n%block ChemicalSpeciesLabel\n{labels}"
        f"%endblock ChemicalSpeciesLabel\nLatticeConstant 1.0 Ang\n%block LatticeVectors\n{_rows(crystal.cell)}"
        f"%endblock LatticeVectors\nAtomicCoordinatesFormat Fractional\n"
        f"%block AtomicCoordinatesAndAtomicSpecies\n{places}"
        "%endblock AtomicCoordinatesAndAtomicSpecies\n"
    )


def struct_out(crystal: Crystal) -> str:
    kinds = [symbol for symbol, _ in crystal.groups]
    rows = "".join(
        f"{kinds.index(s) + 1} {NUMBERS.get(s, 0)} {_row(f)}\n"
        for s, f in zip(crystal.symbols, crystal.frac, strict=True)
    )
    return f"{_rows(crystal.cell)}{len(crystal.frac)}\n{rows}"


def xsf(crystal: Crystal) -> str:
    return f"CRYSTAL\nPRIMVEC\n{_rows(crystal.cell)}PRIMCOORD\n{len(crystal.symbols)} 1\n{_atoms(crystal, frac=False)}"


def res(crystal: Crystal) -> str:
    kinds = [symbol for symbol, _ in crystal.groups]
    places = "".join(
        f"{s} {kinds.index(s) + 1} {_row(f)} 1.0\n" for s, f in zip(crystal.symbols, crystal.frac, strict=True)
    )
    return (
        f"TITL {crystal.id} 0.0 1.0 -1.0 0 0 {len(crystal.symbols)} (P1) n - 1\nCELL 1.0 {_row(crystal.parameters)}\n"
        f"LATT -1\nSFAC {' '.join(kinds)}\n{places}END\n"
    )


def _fixed(rows: Sequence[Sequence[float]], more: str) -> str:
    return "".join(f"  {' '.join(f'{value:.9f}' for value in row)}{more}\n" for row in rows)


def outcar(crystal: Crystal) -> str:
    kinds = crystal.groups
    potentials = "".join(f" POTCAR:    PAW_PBE {symbol} 01Jan2000\n" for symbol, _ in kinds)
    titles = "".join(f"   TITEL  = PAW_PBE {symbol} 01Jan2000\n" for symbol, _ in kinds)
    ordered = [place for s, _ in kinds for t, place in zip(crystal.symbols, crystal.positions, strict=True) if s == t]
    line = " " + "-" * 83 + "\n"
    return (
        f" vasp.6.3.0 20Jan22\n{potentials}{titles}   ions per type =      {' '.join(str(len(r)) for _, r in kinds)}\n"
        "      direct lattice vectors                 reciprocal lattice vectors\n"
        f"{_fixed(crystal.cell, '   0.100000000 0.100000000 0.100000000')}\n"
        f" POSITION                                       TOTAL-FORCE (eV/Angst)\n{line}"
        f"{_fixed(ordered, '   0.000000000 0.000000000 0.000000000')}{line}"
        "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  ---------------------------------------------------\n"
        "  free  energy   TOTEN  =        -1.00000000 eV\n\n"
        "  energy  without entropy=       -1.00000000  energy(sigma->0) =       -1.00000000\n"
    )


def xdatcar(crystal: Crystal) -> str:
    head = poscar(crystal).partition("Direct")[0]
    ordered = [row for _, rows in crystal.groups for row in rows]
    return f"{head}Direct configuration=     1\n{_rows(ordered)}"


def espresso_output(crystal: Crystal) -> str:
    bohr, alat = 0.529177210903, 8.0
    axes = "".join(
        f"               a({k + 1}) = (  {_row([x / (alat * bohr) for x in row])} )\n"
        for k, row in enumerate(crystal.cell)
    )
    sites = "".join(
        f"         {k + 1}           {s}  tau(   {k + 1}) = (  {_row([x / (alat * bohr) for x in p])}  )\n"
        for k, (s, p) in enumerate(zip(crystal.symbols, crystal.positions, strict=True))
    )
    return (
        "     Program PWSCF v.7.0 starts on  1Jan2024 at  0: 0: 0\n"
        f"     lattice parameter (alat)  =       {alat:.4f}  a.u.\n"
        f"     celldm(1)=  {alat / bohr:.6f}  celldm(2)=   0.000000\n"
        f"     number of atoms/cell      =  {len(crystal.symbols)}\n"
        f"     number of atomic types    =  {len(crystal.groups)}\n"
        f"     crystal axes: (cart. coord. in units of alat)\n{axes}\n"
        f"   Cartesian axes\n\n     site n.     atom                  positions (alat units)\n{sites}\n"
        "     number of k points=     1\n                       cart. coord. in units 2pi/alat\n"
        "        k(    1) = (   0.0000000   0.0000000   0.0000000), wk =   2.0000000\n\n"
        "     End of self-consistent calculation\n\n          k = 0.0000 0.0000 0.0000 (   100 PWs)   bands (ev):\n\n"
        "    -5.0000   1.0000\n\n     highest occupied level (ev):     1.0000\n\n"
        "!    total energy              =     -10.0 Ry\n\n     JOB DONE.\n"
    )


FOREIGN: dict[str, tuple[str, Callable[[Crystal], str]]] = {
    "espresso": ("crystal.pwi", espresso),
    "espresso output": ("crystal.pwo", espresso_output),
    "aims": ("geometry.in", aims),
    "castep": ("crystal.cell", castep),
    "cp2k": ("crystal.inp", cp2k),
    "siesta": ("crystal.fdf", siesta),
    "siesta output": ("crystal.STRUCT_OUT", struct_out),
    "xsf": ("crystal.xsf", xsf),
    "res": ("crystal.res", res),
    "outcar": ("OUTCAR", outcar),
    "xdatcar": ("XDATCAR", xdatcar),
}
"""Kind -> name of its file, and its text."""
