"""Requests and responses of the long computations of the API, see `voigt.app.schema`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from voigt.app.schema import Derived, Model, Name, Problem, Repeat, StructureArrays, StructureText, Symprec
from voigt.prediction.scene import Matrix, Scene, SceneNote, SceneStructure, Vector

# Requests


class ForcesQuery(Model):
    """Options that both kinds of jobs have, as on the command line.

    `direction`: "X Y Z", Cartesian, repeatable; `linewidth`: "10cm-1", "0.3THz"; `dim`: 3 or 9 integers.
    """

    potential: Name | None = None
    relax: Literal["none", "positions", "cell"] | None = None
    dim: Annotated[str, Field(max_length=100)] | None = None
    follow: bool = False
    functional: Name | None = None
    direction: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=6, default_factory=list)]
    linewidth: Annotated[str, Field(max_length=200)] = "10cm-1"
    symprec: Symprec | None = None
    allow_unseen: bool = False
    allow_metal: bool = False
    allow_vacuum: bool = False


class PhononsQuery(ForcesQuery):
    """Options of /api/phonons, those of `voigt phonons` and `voigt infrared`; a project may bring its own charges."""

    nac: Literal["predicted", "project", "none"] = "predicted"
    model: Name | None = None
    symmetry: bool = True
    sum_rule: bool = True


class RespondQuery(ForcesQuery):
    """Options of /api/respond, those of `voigt respond`."""


class PhononsRequest(Model):
    """A structure whose force constants come from a potential; a phonopy project comes as a zip file instead."""

    structure: StructureText | StructureArrays


class RespondRequest(Model):
    """A structure whose responses are wanted."""

    structure: StructureText | StructureArrays


# Results


class Along(Model):
    """Modes as the wave vector goes to zero along `direction`; entry k of each list belongs to mode k without NAC.

    `names`: equivalent directions, e.g. x and y; `splitting`: THz; `overlap`: share of the mode in its partner.
    """

    direction: Vector
    names: list[str]
    frequencies: Vector
    splitting: Vector
    overlap: Vector


class GammaMode(Model):
    """A mode at q = 0 without NAC: `frequency` in THz, negative if imaginary, `wavenumber` in 1/cm.

    `displacements`: (n_atoms, 3), of which the longest has length 1.
    """

    frequency: float
    wavenumber: float
    irrep: str | None
    acoustic: bool
    displacements: Matrix


class BandSegment(Model):
    """A stretch of a band path: `frequencies` (n_q, n_bands) in THz at `distances`, `nac` the same with NAC or null."""

    start: str
    end: str
    distances: Vector
    frequencies: Matrix
    nac: Matrix | None


class InfraredMode(Model):
    """A set of degenerate modes: eps(f) = eps_inf + sum of share f0^2 / (f0^2 - f^2 - i linewidth f), frequencies THz.

    `modes`: indices from 0; `kind`: only optical ones have a part in spectra; `intensity`: km/mol.
    """

    modes: list[int]
    kind: Literal["acoustic", "optical", "imaginary"]
    irrep: str | None
    active: bool
    frequency: float
    wavenumber: float
    strength: Matrix
    intensity: float
    share: Matrix


class LongitudinalData(Model):
    """TO and LO frequencies along a direction, THz, poles and zeros of n.eps.n; `reason`: why no LST relation."""

    direction: Vector
    names: list[str]
    transverse: Vector
    longitudinal: Vector
    product: float | None
    ratio: float | None
    axis: bool
    reason: str | None


class SpectrumData(Model):
    """At the default linewidth: `permittivity_*` (n, 3, 3), the others (n, n_directions); absorption in 1/cm."""

    linewidth: Vector
    frequencies: Vector
    directions: Matrix
    permittivity_real: list[Matrix]
    permittivity_imaginary: list[Matrix]
    reflectivity: Matrix
    loss: Matrix
    absorption: Matrix


class InfraredData(Model):
    """Infrared response, see `InfraredMode` for spectra at other linewidths and directions."""

    eps_inf: Matrix
    eps_ionic: Matrix
    eps_0: Matrix
    modes: list[InfraredMode]
    directions: list[LongitudinalData]
    spectrum: SpectrumData
    table: str


class PhononData(Model):
    """Phonons of a crystal: `structure` is the primitive cell, whose atoms `displacements` move.

    `nac`: which correction is in use, or why there is none, in words; `refused`: it was to be predicted, but the
    crystal is probably a metal or holds vacuum. `infrared` is null where there are no charges, and a note says why.
    """

    heading: list[str]
    structure: SceneStructure
    masses: Vector
    nac: str
    refused: bool
    modes: list[GammaMode]
    along: list[Along]
    bands: list[BandSegment]
    infrared: InfraredData | None
    notes: list[SceneNote]
    table: str


class QuantityData(Model):
    """One response of `voigt respond`, in the layout of files, and how it was found."""

    name: str
    unit: str
    route: Literal["predicted", "potential", "assembled", "combined"]
    origin: str
    value: float | Matrix | list[Matrix]
    interval: float | list[float] | None


class PhononsResult(Model):
    """Result of a job of POST /api/phonons; `crystal`: predicted tensors of the unit cell, null with other charges."""

    phonons: PhononData
    crystal: Scene | None
    repeat: Repeat


class RespondResult(Model):
    """Result of a job of POST /api/respond: the relaxed crystal, its responses and phonons."""

    crystal: Scene
    derived: Derived
    quantities: list[QuantityData]
    phonons: PhononData
    potential: str
    summary: str
    repeat: Repeat


class Progress(Model):
    """`done` of `total` (null: not known) `what`."""

    done: int
    total: int | None
    what: str


class JobFile(Model):
    """A file at /api/jobs/{id}/files/{name}; `files.zip` holds all of them."""

    name: str
    bytes: int
    media_type: str


class Job(Model):
    """A long computation: `result` once `state` is done, `error` once it is failed.

    `position`: how many are to be done before it; `expires_s`: seconds until it is forgotten, null before its end.
    """

    id: str
    kind: Literal["phonons", "respond"]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    position: int
    progress: Progress
    seconds: float
    expires_s: float | None
    error: Problem | None
    result: PhononsResult | RespondResult | None
    files: list[JobFile]
