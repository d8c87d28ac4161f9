"""Checks of crystals: metals, open shells, functionals, cells that are not primitive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import nan

from ase.data import chemical_symbols

from voigt.audit.finding import Finding
from voigt.audit.frames import Frame
from voigt.structures.domain import metal_reason, stated_charge
from voigt.tensors.properties import PROPERTIES, insulators_only
from voigt.writers.markdown import counted

OPEN_SHELLS = frozenset(chemical_symbols.index(symbol) for symbol in ("V", "Cr", "Mn", "Fe", "Co", "Ni"))
"""Elements of open d shells whose charges without spin differ from those with spin by 0.3 e (docs/data.md)."""
NOT_STATED = ("", "not_stated", "unknown", "none", "None")


def check_crystal(frame: Frame, rules: bool = True) -> Iterator[Finding]:
    """What makes the labels of a crystal useless, whatever they are.

    `rules`: tell metals by their composition; else by a stated band gap alone.
    """
    targets, atoms = frame.crystal.targets, frame.crystal.atoms
    for_insulators = insulators_only(targets)
    if for_insulators and "band_gap" in targets and float(targets["band_gap"]) <= 0.0:
        text = f"the band gap is {float(targets['band_gap']):g} eV, so that {', '.join(for_insulators)} do not exist"
        yield frame.finding("metal", "warning", "", float(targets["band_gap"]), text, "leave the crystal out")
    elif rules and for_insulators and frame.symmetry is not None:
        reason = metal_reason(atoms, frame.symmetry, stated_charge(atoms))
        if reason is not None:
            text = f"probably a metal ({reason}), for which {', '.join(for_insulators)} do not exist"
            yield frame.finding("metal", "warning", "", nan, text, "leave the crystal out")
    yield from _open_shell(frame, for_insulators)
    if frame.symmetry is not None and frame.symmetry.translations > 1:
        many = frame.symmetry.translations
        text = f"the cell holds {many} primitive cells"
        yield frame.finding("not_primitive", "info", "", float(many), text, "a primitive cell is quicker to train on")


def _open_shell(frame: Frame, names: Sequence[str]) -> Iterator[Finding]:
    """Spin is what the frame states; data of PBEsol without a statement are of phonon databases, without spin."""
    info = frame.crystal.atoms.info
    stated = str(info.get("spin", "")).lower()
    without = stated in ("none", "f", "false", "0") or (not stated and frame.crystal.functional == "PBEsol")
    found = sorted(OPEN_SHELLS.intersection(frame.crystal.atoms.numbers.tolist()))
    if not (names and without and found):
        return
    symbols = ", ".join(chemical_symbols[z] for z in found)
    said = "without spin polarization" if stated else f"{frame.crystal.functional}, probably without spin polarization"
    text = f"{symbols} with open d shells, calculated {said}: {', '.join(names)} can be plainly wrong"
    yield frame.finding("open_shell", "warning", "", nan, text, "leave the crystal out, or state info['spin']")


def check_functionals(frames: Sequence[Frame]) -> Iterator[Finding]:
    """Functionals of the labels of each property."""
    for name in PROPERTIES:
        counts = Counter(
            "" if str(frame.crystal.functional) in NOT_STATED else str(frame.crystal.functional)
            for frame in frames
            if name in frame.crystal.targets
        )
        missing = counts.pop("", 0)
        if missing:
            text = f"{name}: no functional is stated for {missing:,} of {counted(missing + counts.total(), 'label')}"
            yield Finding(-1, "", "functional_missing", "info", name, float(missing), text,
                          "state it as info['functional']: functionals differ systematically")  # fmt: skip
        if len(counts) > 1:
            listed = ", ".join(f"{functional} ({many:,})" for functional, many in counts.most_common())
            text = f"{name}: labels of several functionals: {listed}"
            yield Finding(-1, "", "functionals_mixed", "warning", name, float(len(counts)), text,
                          "train a network that is conditioned on the functional, or on one of them")  # fmt: skip
