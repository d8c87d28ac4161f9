"""Potentials by name: what is said when they cannot be had, and that they keep quiet when they can."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from types import ModuleType

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from tests.response.potentials.toys import register

from voigt.errors import InputError
from voigt.response.potentials import DEFAULT, POTENTIALS, find_potential, load_potential, name_of
from voigt.response.potentials.evaluation import energy_of, forces_of, stress_of


def test_every_entry_says_what_it_is() -> None:
    assert DEFAULT in POTENTIALS
    for name, potential in POTENTIALS.items():
        assert potential.name == name
        assert potential.install.startswith("pip install ")
        assert potential.functional
        assert potential.source
        assert {1, 8, 56, 94} <= potential.elements
        assert 84 not in potential.elements


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="no potential is named 'sevenet'; known are sevennet-l3i5, sevennet-0, mace"):
        load_potential("sevenet")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sevennet-l3i5", r'needs the package sevenn, which is not installed: pip install "voigt\[potential\]"$'),
        ("sevennet-0", r'pip install "voigt\[potential\]"$'),
        ("mace-mp-small", "needs the package mace-torch, which is not installed: pip install mace-torch$"),
        ("chgnet", "needs the package chgnet, which is not installed: pip install chgnet$"),
    ],
)
def test_a_package_that_is_not_installed(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = find_potential(name).module
    for loaded in [key for key in sys.modules if key.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        load_potential(name)


def test_a_package_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> EMT:
        raise OSError("weights.pth: no such file")

    register(monkeypatch, "broken", broken)
    with pytest.raises(InputError, match=r"^broken, ase .* does not load \(OSError: weights.pth: no such file\); "):
        load_potential("broken")
    register(monkeypatch, "halved", EMT, module="ase.no_such_part")
    with pytest.raises(InputError, match="halved"):
        load_potential("halved")


class Loud(EMT):  # type: ignore[misc]
    """Prints, warns, and changes the settings of torch as it likes."""

    threads = 0

    def __init__(self) -> None:
        super().__init__()
        print("loading")  # noqa: T201
        torch.set_default_dtype(torch.float64)

    def calculate(self, *arguments: object, **options: object) -> None:
        print("calculating", file=sys.stderr)  # noqa: T201
        warnings.warn("no accelerator", stacklevel=1)
        Loud.threads = torch.get_num_threads()
        assert torch.get_default_dtype() == torch.float64  # what the package has asked for
        super().calculate(*arguments, **options)


def test_nothing_reaches_the_terminal_and_torch_stays_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch, "loud", Loud)
    before = torch.get_default_dtype(), torch.get_num_threads()
    calculator, atoms = load_potential("loud"), bulk("Cu")
    found = forces_of(atoms, calculator), stress_of(atoms, calculator), energy_of(atoms, calculator)
    assert capfd.readouterr() == ("", "")
    assert Loud.threads == 1
    assert (torch.get_default_dtype(), torch.get_num_threads()) == before
    assert name_of(calculator) == "loud"
    atoms.calc = EMT()
    np.testing.assert_array_equal(found[0], atoms.get_forces())
    np.testing.assert_array_equal(found[1], atoms.get_stress(voigt=False))
    assert found[2] == atoms.get_potential_energy()


def test_elements_outside_its_training_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    potential = replace(register(monkeypatch, "toy", EMT), elements=frozenset({29}))
    monkeypatch.setattr("voigt.response.potentials.registry.POTENTIALS", {"toy": potential})
    calculator = load_potential("toy")
    assert np.isfinite(energy_of(bulk("Cu"), calculator))
    with pytest.raises(InputError, match=r"^toy was not trained on Ag and Au; take another potential$"):
        energy_of(ase.Atoms("CuAgAu", positions=np.eye(3), cell=[5, 5, 5], pbc=True), calculator)


def test_no_package_of_a_potential_is_imported_before_it_is_asked_for() -> None:
    names = tuple({potential.module for potential in POTENTIALS.values()})
    code = (
        "import sys, voigt, voigt.response.potentials, voigt.response.phonons, voigt.cli.main\n"
        "from ase.build import bulk\n"
        "voigt.predict(bulk('MgO', 'rocksalt', a=4.21))\n"
        f"print([name for name in {names!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250, check=True)
    assert done.stdout.strip() == "[]"


def test_a_fake_module_without_the_class_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the package that has moved its calculator."""
    monkeypatch.setitem(sys.modules, "chgnet", ModuleType("chgnet"))
    with pytest.raises(InputError, match=r"chgnet.* does not load"):
        load_potential("chgnet")
