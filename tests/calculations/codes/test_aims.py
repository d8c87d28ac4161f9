"""Outputs of FHI-aims, as versions of 2018 and 2025 print them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.calculations.codes.tensors import symmetric
from tests.calculations.runs import only, run_file, triclinic

from voigt.calculations.codes import aims
from voigt.notes import Failure

EPS = symmetric(2, 3, 12)


def output(title: str, version: str, xc: str = "pbe", values: Any = EPS, end: bool = True, rows: int = 3) -> str:
    atoms = triclinic()
    cell = "\n".join("  |" + "".join(f"{x:19.8f}" for x in row) for row in atoms.cell.array)
    sites = "\n".join(
        f"  | {n:4d}: Species {atom.symbol:<2s}       " + "".join(f"{x:18.8f}" for x in atom.position)
        for n, atom in enumerate(atoms, 1)
    )
    tensor = "\n".join("   " + "".join(f"{x:25.15f}" for x in row) for row in values[:rows])
    return f"""
          Invoking FHI-aims ...
          {version}

  Parsing control.in
  xc                                 {xc}
  k_grid                             4 3 2
    species        Ti
      plus_u 3 d 2.5

  Input geometry:
  | Unit cell:
{cell}
  | Atomic structure:
  |       Atom                x [A]            y [A]            z [A]
{sites}

DFPT for polarizability (Bohr^3) :--->
   121.6  -3.9  -18.7
{title}
{tensor}
  Cleaning up pulay mixer
{"          Have a nice day." if end else ""}
"""


OLD = ("DFPT for dielectric_constant:--->", "Version 180606")
NEW = ("DFPT for dielectric_constant:--->  # PARSE DFPT_dielectric_tensor", "FHI-aims version      : 250822")


def read(text: str) -> list[Any]:
    file = run_file("aims.out", text)
    assert aims.recognizes(file)
    return list(aims.read([file]))


@pytest.mark.parametrize(("title", "version"), [OLD, NEW])
def test_permittivity_of_both_layouts(title: str, version: str) -> None:
    found = only(read(output(title, version)))
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-12)
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions, atol=1e-7)
    assert found.provenance.version == version.rsplit(maxsplit=1)[-1]
    assert found.problems == ()


@pytest.mark.parametrize(
    ("name", "label"), [("pbesol", "PBEsol"), ("pw-lda", "LDA"), ("hse06 0.11", "HSE06"), ("dfauto scan", "SCAN")]
)
def test_provenance(name: str, label: str) -> None:
    provenance = only(read(output(*NEW, xc=name))).provenance
    assert (provenance.functional, provenance.spin, provenance.kpoints) == (label, "none", (4, 3, 2))
    assert provenance.hubbard_u == {"Ti": 2.5}


def test_a_permittivity_without_its_symmetry_is_symmetrized_and_said_to_be_so() -> None:
    twist = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])
    found = only(read(output(*NEW, values=EPS + 0.01 * twist)))
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-12)
    assert found.provenance.conversions == ("eps_inf: antisymmetric part of up to 0.01 left out",)
    assert found.problems == ()
    assert any("asymmetric" in text for text in only(read(output(*NEW, values=EPS + twist))).problems)


def test_runs_that_ended_early() -> None:
    assert any("did not finish" in text for text in only(read(output(*NEW, end=False))).problems)
    (failure,) = read(output(*NEW, rows=2))
    assert "ends within a table" in failure.problem
    (failure,) = read(output("nothing", NEW[1]))
    assert isinstance(failure, Failure)
    assert "DFPT dielectric" in failure.problem
