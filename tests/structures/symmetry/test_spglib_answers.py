"""What spglib's C code prints never reaches the terminal, and both of its ways to find nothing are one answer."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import spglib

from voigt.structures.symmetry.spglib_answers import answer

# A rattled quartz cell whose operations at this tolerance spglib finds, cannot place the sites of, and finds again with
# a smaller tolerance. It prints "spglib: ssm_get_exact_positions failed." on the way.
CRYSTAL = """
from tests import crystals
atoms = crystals.quartz().repeat((1, 1, 2))
atoms.rattle(0.05, seed=17)
"""
SYMPREC = 0.2

PLAIN = f"""
import spglib
spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec={SYMPREC})
"""
CALLS = {
    "operations": f"""
from voigt.structures.symmetry import find_symmetry
find_symmetry(atoms, {SYMPREC}).wyckoffs
""",
    "lattice": f"""
from voigt.structures.symmetry import standard_lattice
standard_lattice(atoms, "primitive", {SYMPREC})
""",
    "phonopy": f"""
from voigt.response.phonons.cells import make_phonopy, to_phonopy
make_phonopy("crystal", "", to_phonopy(atoms), primitive_matrix="P", symprec={SYMPREC})
""",
}


def printed(code: str, warning: str | None = None) -> str:
    """Standard output and error of an interpreter of its own, as a terminal would show them."""
    environment = {name: value for name, value in os.environ.items() if name != "SPGLIB_WARNING"}
    if warning is not None:
        environment["SPGLIB_WARNING"] = warning
    environment["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *sys.path])
    command = [sys.executable, "-c", CRYSTAL + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def message() -> str:
    """What spglib prints about this crystal if nobody stops it."""
    text = printed(PLAIN)
    if "spglib" not in text:
        pytest.skip("this version of spglib has nothing to say about the crystal")
    return text


@pytest.mark.parametrize("name", sorted(CALLS))
def test_messages_of_spglib_do_not_reach_the_terminal(name, message):
    assert printed(CALLS[name]) == ""


@pytest.mark.parametrize("name", sorted(CALLS))
def test_who_wants_the_messages_gets_them(name, message):
    # ... and each of these calls has some.
    assert "spglib" in printed(CALLS[name], "ON")


def test_no_answer_is_none_by_either_way():
    def nothing(_cell: np.ndarray) -> None:
        return None

    def error(_cell: np.ndarray) -> None:
        raise spglib.SpglibError("Niggli reduction failed")

    assert answer(nothing, np.eye(3)) is None
    assert answer(error, np.eye(3)) is None
    assert answer(spglib.niggli_reduce, np.eye(3), eps=1e-5) is not None


def test_other_errors_are_not_hidden():
    with pytest.raises(TypeError):
        answer(spglib.niggli_reduce, np.eye(3), tolerance=1e-5)
