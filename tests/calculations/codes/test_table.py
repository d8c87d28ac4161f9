"""The table of codes: each file is one code's, each code can be asked."""

from __future__ import annotations

import numpy as np
import pytest
from tests import crystals
from tests.calculations import vasp_files as vasp
from tests.calculations.runs import run_file, triclinic

from voigt.calculations.codes import CODES
from voigt.response.phonons import born_file

SALT = crystals.rocksalt()
BORN = born_file(SALT, np.array([np.eye(3), -np.eye(3)]), 2.4 * np.eye(3))


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.out", vasp.outcar(triclinic(), vasp.permittivity(3 * np.eye(3))), "VASP"),
        ("b.out", vasp.vasprun([(triclinic(), "")]), "VASP"),
        ("c.out", BORN, "phonopy"),
        ("POSCAR", "NaCl\n1.0\n", "phonopy"),
        ("d.out", '{"structure": {"sites": []}}', "JSON"),
    ],
)
def test_a_file_is_of_one_code(name, text, code):
    assert [entry.name for entry in CODES if entry.recognizes(run_file(name, text))] == [code]


@pytest.mark.parametrize("text", ["", "\0" * 100, "INCAR\nENCUT = 500\n", "1\n\n" * 30_000, " " * 65_536, "-" * 65_536])
def test_what_is_no_output_is_nobodys(text):
    assert [entry.name for entry in CODES if entry.recognizes(run_file("file", text))] == []


def test_codes_have_different_names():
    assert len({code.name for code in CODES}) == len(CODES) == 10


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_no_reader_stumbles_over_garbage(code):
    for text in ("", "garbage\n" * 50, "\0\1\2", "{" * 1000):
        outcomes = list(code.read([run_file("file", text)]))
        assert all(getattr(outcome, "kind", "unreadable") == "unreadable" for outcome in outcomes)
