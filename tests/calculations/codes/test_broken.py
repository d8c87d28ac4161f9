"""What no reader of outputs may do with a broken or hostile file: raise, hang, or deliver tensors of another size."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from tests.calculations.codes import (
    test_abinit,
    test_abinit_ddb,
    test_aims,
    test_castep,
    test_cp2k,
    test_crystal,
    test_espresso,
    test_gpaw,
)
from tests.calculations.runs import run_file, triclinic

from voigt.calculations.calculation import Calculation
from voigt.calculations.codes import abinit, abinit_ddb, aims, castep, cp2k, crystal, espresso, gpaw
from voigt.notes import Failure
from voigt.tensors.properties import PROPERTIES


def samples() -> dict[str, tuple[ModuleType, str]]:
    """A whole file of each kind, with all that is read of it."""
    charges = test_espresso.charges(test_espresso.CHARGES, test_espresso.RAW)
    run = (
        test_abinit.dielectric()
        + test_abinit.charges(test_abinit.CHARGES, "from phonon response")
        + test_abinit.strains()
    )
    parts = {"eps", "field", "piezo", "strain", "springs"}
    return {
        "ph.out": (espresso, test_espresso.phonon_output(triclinic(), tail=test_espresso.permittivity() + charges)),
        "dyn": (
            espresso,
            test_espresso.matrix_file(triclinic(), test_espresso.tensor_blocks("U-E", test_espresso.CHARGES)),
        ),
        "abo": (abinit, test_abinit.output({1: run}, test_abinit.variables(triclinic(), **test_abinit.SETTINGS))),
        "DDB": (abinit_ddb, test_abinit_ddb.database(test_abinit_ddb.derivatives(parts))),
        "castep": (
            castep,
            test_castep.output(test_castep.permittivity() + test_castep.charges() + test_castep.tensors()),
        ),
        "elastic": (castep, test_castep.elastic_file()),
        "crystal": (
            crystal,
            test_crystal.output(test_crystal.permittivity_17() + test_crystal.charges() + test_crystal.elastic()),
        ),
        "aims": (aims, test_aims.output(*test_aims.NEW)),
        "cp2k": (cp2k, test_cp2k.output(test_cp2k.polarizability() + test_cp2k.polar_tensors())),
        "gpaw": (gpaw, test_gpaw.encode(test_gpaw.results())),
    }


SAMPLES = samples()


def outcomes(reader: ModuleType, text: str) -> list[Calculation | Failure]:
    found = list(reader.read([run_file("run.out", text)]))
    for outcome in found:
        if isinstance(outcome, Calculation):
            assert outcome.targets
            for name, value in outcome.targets.items():
                shape = PROPERTIES[name].shape
                assert value.shape == ((len(outcome.atoms), *shape) if PROPERTIES[name].per == "atom" else shape)
                assert np.isfinite(value).all()
        else:
            assert (outcome.source, outcome.index, outcome.id, outcome.kind) == ("run/run.out", 0, "", "unreadable")
            assert outcome.problem
    return found


@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind != "gpaw"])
def test_samples_are_whole(kind: str) -> None:
    reader, text = SAMPLES[kind]
    assert reader.recognizes(run_file("run.out", text))
    (found,) = outcomes(reader, text)
    assert isinstance(found, Calculation)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_cut_anywhere_is_named_or_delivered(kind: str) -> None:
    reader, text = SAMPLES[kind]
    for end in np.linspace(0, len(text), 40).astype(int):
        found = outcomes(reader, text[:end])
        assert found or not reader.recognizes(run_file("run.out", text[:end]))


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("seed", [0, 1])
def test_spoilt_lines_are_named_or_delivered(kind: str, seed: int) -> None:
    reader, text = SAMPLES[kind]
    rng = np.random.default_rng(seed)
    for _ in range(20):
        lines = text.splitlines()
        for place in rng.integers(0, len(lines), 3):
            spoilt = ["", "*" * 15, "NaN", "1e999", "-1", "\x00", lines[place][::-1], lines[place] * 2, "9" * 400]
            lines[place] = spoilt[rng.integers(len(spoilt))]
        outcomes(reader, "\n".join(lines))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("filling", ["\n", " ", "1 ", "-1.0 ", "A ", "=", "|"])
def test_long_runs_of_anything_take_no_long_time(kind: str, filling: str) -> None:
    reader, text = SAMPLES[kind]
    half = len(text) // 2
    for whole in (filling * 100_000, text[:half] + filling * 100_000 + text[half:], text + filling * 100_000):
        reader.recognizes(run_file("run.out", whole))
        outcomes(reader, whole)
