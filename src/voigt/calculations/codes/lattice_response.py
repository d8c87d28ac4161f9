"""What relaxing ions add, from the second derivatives at Gamma that a file holds (`voigt.response.phonons` has the
theory).
"""

from __future__ import annotations

from voigt.calculations.codes.parsing import Array


def with_relaxed_ions(
    targets: dict[str, Array],
    force_constants: Array,
    volume: float,
    conversions: list[str],
    problems: list[str],
    internal_strain: Array | None = None,
    elastic_clamped: Array | None = None,
) -> None:
    """Add eps_ionic, piezo_total and elastic to `targets`, as far as what they are made of is there.

    Parameters
    ----------
    targets
        Born charges and clamped tensors, to which the relaxed ones are added.
    force_constants
        (n_atoms, n_atoms, 3, 3) at Gamma, without the macroscopic field, eV/Angstrom^2.
    volume
        Of the cell, Angstrom^3.
    conversions, problems
        Get a sentence for what was computed, and for an unstable crystal, whose ions have no equilibrium.
    internal_strain
        (n_atoms, 3, 3, 3) -dF[a, i]/d eta_jk, eV/Angstrom.
    elastic_clamped
        (3, 3, 3, 3) GPa.
    """
    from voigt.response.phonons.infrared_modes import ionic_permittivity
    from voigt.response.phonons.internal_strain import ionic_piezo
    from voigt.response.phonons.modes import unstable_directions
    from voigt.response.phonons.strained_cells import relaxed_elastic

    springs = (force_constants + force_constants.transpose(1, 0, 3, 2)) / 2
    if unstable_directions(springs):
        problems.append(
            "the crystal is unstable at Gamma, so that eps_ionic and other tensors of relaxed ions are left out"
        )
        return
    source = "from the second derivatives at Gamma"
    charges = targets.get("born_charges")
    if charges is not None and len(charges) > 1:
        targets["eps_ionic"] = ionic_permittivity(springs, charges, volume)
        conversions.append(f"eps_ionic: {source} and the Born charges of the file")
    if internal_strain is None:
        return
    if charges is not None and "piezo_clamped" in targets:
        targets["piezo_total"] = targets["piezo_clamped"] + ionic_piezo(springs, internal_strain, charges, volume)
        conversions.append(f"piezo_total: clamped ions and what their displacements add, {source}")
    if elastic_clamped is not None:
        targets["elastic"] = relaxed_elastic(elastic_clamped, springs, internal_strain, volume)
        conversions.append(f"elastic: clamped ions and what their displacements take away, {source}")
