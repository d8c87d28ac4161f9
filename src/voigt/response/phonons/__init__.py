"""Phonopy projects with predicted Born charges: phonons with LO-TO splitting, infrared response, BORN files.

phonopy itself is imported by the functions that need it.
"""

from __future__ import annotations

from voigt.response.phonons.born_files import (
    Corrected,
    abinit_arrays,
    born_file,
    corrected,
    euphonic_arrays,
    nac_params,
    write_born,
)
from voigt.response.phonons.force_constants import load_calculator
from voigt.response.phonons.infrared_modes import Infrared, ModeSet, infrared, ionic_permittivity
from voigt.response.phonons.instabilities import SoftMode, soft_modes
from voigt.response.phonons.internal_strain import (
    internal_displacements,
    internal_strain_of_force_constants,
    ionic_piezo,
)
from voigt.response.phonons.longitudinal_modes import Longitudinal, is_axis, longitudinal, longitudinal_frequencies
from voigt.response.phonons.modes import (
    WAVENUMBER,
    GammaModes,
    gamma_force_constants,
    gamma_modes,
    irreps,
    modes_of,
)
from voigt.response.phonons.nac import (
    Along,
    GammaPhonons,
    Segment,
    band_structure,
    gamma_phonons,
    limit_at_gamma,
    optical_limit,
)
from voigt.response.phonons.project import Project, calculated_project, read_born, read_project, unit_cell
from voigt.response.phonons.spectra import Spectrum, frequency_grid, permittivity, reflectivity, spectrum
from voigt.response.phonons.strained_cells import (
    StrainResponse,
    WholePiezo,
    internal_strain_by_calculator,
    relaxed_elastic,
    strained_cells,
    whole_piezo,
)
from voigt.response.phonons.tensors import (
    ProjectSettings,
    ProjectTensors,
    corrected_parameters,
    with_nac,
    with_parameters,
)
from voigt.response.phonons.workflow import (
    InfraredResult,
    PhononResult,
    PiezoResult,
    run_infrared,
    run_ionic_piezo,
    run_phonons,
)

# fmt: off
__all__ = [
    "WAVENUMBER", "Along", "Corrected", "GammaModes", "GammaPhonons", "Infrared", "InfraredResult", "Longitudinal",
    "ModeSet", "PhononResult", "PiezoResult", "Project", "ProjectSettings", "ProjectTensors", "Segment", "SoftMode",
    "Spectrum", "StrainResponse", "WholePiezo", "abinit_arrays", "band_structure", "born_file", "calculated_project",
    "corrected", "corrected_parameters", "euphonic_arrays", "frequency_grid", "gamma_force_constants", "gamma_modes",
    "gamma_phonons", "infrared", "internal_displacements", "internal_strain_by_calculator",
    "internal_strain_of_force_constants", "ionic_permittivity", "ionic_piezo", "irreps", "is_axis", "limit_at_gamma",
    "load_calculator", "longitudinal", "longitudinal_frequencies", "modes_of", "nac_params", "optical_limit",
    "permittivity", "read_born", "read_project", "reflectivity", "relaxed_elastic", "run_infrared", "run_ionic_piezo",
    "run_phonons", "soft_modes", "spectrum", "strained_cells", "unit_cell", "whole_piezo", "with_nac",
    "with_parameters", "write_born",
]
