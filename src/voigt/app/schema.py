"""Every request and response of the HTTP API; the OpenAPI schema is made of these models.

A crystal with its tensors is a `voigt.prediction.scene.Scene`. Lengths are in Angstrom, frequencies in THz, tensors in
the Cartesian axes of `cell`, Voigt order xx yy zz yz zx xy.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from voigt.app.limits import MOST_ATOMS, MOST_LETTERS
from voigt.prediction.scene import Matrix, Scene, Vector

Finite = Annotated[float, Field(allow_inf_nan=False)]
Row = Annotated[list[Finite], Field(min_length=3, max_length=3)]


class Model(BaseModel):
    """Fields that are not declared are refused."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null")


# Requests


class StructureText(Model):
    """A structure file as text, with its name: what the suffix promises is read, or what the first lines show."""

    name: Annotated[str, Field(max_length=MOST_LETTERS)] = "structure"
    text: str


class StructureArrays(Model):
    """A crystal by its arrays: rows of `cell` are lattice vectors, `positions` Cartesian, both in Angstrom."""

    name: Annotated[str, Field(max_length=MOST_LETTERS)] = "structure"
    cell: Annotated[list[Row], Field(min_length=3, max_length=3)]
    species: Annotated[list[Annotated[str, Field(max_length=3)]], Field(min_length=1, max_length=MOST_ATOMS)]
    positions: Annotated[list[Row], Field(min_length=1, max_length=MOST_ATOMS)]


class UploadedFile(Model):
    """The part `file` of multipart/form-data; its name says the format, never where anything is stored."""

    file: Annotated[bytes, Field(json_schema_extra={"format": "binary"})]


Name = Annotated[str, Field(max_length=MOST_LETTERS)]
Symprec = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class PredictQuery(Model):
    """Options of /api/predict, those of `voigt predict`.

    `properties`: names with commas between them; `symprec`: Angstrom.
    """

    format: Literal["json", "extxyz", "csv", "born"] = "json"
    properties: Name | None = None
    model: Name | None = None
    functional: Name | None = None
    symmetry: bool = True
    sum_rule: bool = True
    total_charge: Annotated[float, Field(allow_inf_nan=False)] | None = None
    symprec: Symprec = 1e-3
    allow_unseen: bool = False


# Errors


class Problem(Model):
    """Why a request, or one crystal of it, has no result: the sentence that the command line prints.

    `kind` is a key of `voigt.notes.MEANING`, or one of: bad_request, wrong_input, forbidden_host, forbidden_origin,
    not_found, not_allowed, too_large, too_many, too_slow, unsupported, busy, not_installed, cancelled, crashed.
    """

    kind: str
    text: str
    properties: list[str] = []
    elements: list[str] = []


# What there is


class PropertyInfo(Model):
    """A property as declared; `models` predict it, the first one if none is named."""

    name: str
    label: str
    meaning: str
    unit: str
    per: Literal["atom", "crystal"]
    models: list[str]


class ModelInfo(Model):
    """A model that ships; `functionals`: the default first."""

    name: str
    default: bool
    properties: list[str]
    method: str
    members: int
    functionals: list[str]
    elements: int
    bytes: int


class PotentialInfo(Model):
    """A machine-learned potential; `installed`: whether jobs can use it."""

    name: str
    functional: str
    training: str
    source: str
    install: str
    installed: bool
    default: bool


class Limits(Model):
    """What requests may hold, and how long they may take, seconds."""

    body_bytes: int
    atoms: int
    structures: int
    upload_s: float
    predict_s: float
    job_s: float
    result_kept_s: float


class ModelsAnswer(Model):
    """GET /api/models."""

    version: str
    models: list[ModelInfo]
    properties: list[PropertyInfo]
    potentials: list[PotentialInfo]
    limits: Limits


class ElementInfo(Model):
    """One cell of the periodic table: `column` and `row` count from 0, the f block stands below with row 7.5 and 8.5.

    `known`: the model was trained on it; `count`: crystals of the training set that hold it, null where not stated.
    """

    z: int
    symbol: str
    name: str
    column: float
    row: float
    known: bool
    count: int | None


class ElementsAnswer(Model):
    """GET /api/elements; an element of fewer than `rare` training crystals is to be marked."""

    model: str
    rare: int
    elements: list[ElementInfo]


class ExampleInfo(Model):
    """A crystal to try: send `name` and `text` to /api/predict."""

    name: str
    title: str
    source: str
    text: str


class ExamplesAnswer(Model):
    """GET /api/examples."""

    examples: list[ExampleInfo]


# Predictions


class OpticsData(Model):
    """Refraction: `indices` ascending with their polarizations as rows of `axes`; `axial_angle` in degrees."""

    kind: Literal["isotropic", "uniaxial", "biaxial"]
    indices: Vector
    axes: Matrix
    mean_index: float
    birefringence: float
    sign: int
    optic_axes: Matrix
    axial_angle: float | None


class ModuliData(Model):
    """Averages of a stable elastic tensor, GPa; `compliance`: (6, 6) in 1/GPa, engineering strain, for directions.

    1/E(n) = s . compliance . s with s = (nx nx, ny ny, nz nz, ny nz, nz nx, nx ny); `young_range`: least and greatest E
    over all directions.
    """

    bulk_voigt: float
    bulk_reuss: float
    bulk_hill: float
    shear_voigt: float
    shear_reuss: float
    shear_hill: float
    young: float
    poisson: float
    pugh: float
    universal_anisotropy: float
    compliance: Matrix
    young_range: Vector


class PrincipalData(Model):
    """Principal values of a symmetric tensor, ascending, with their axes as rows."""

    property: str
    values: Vector
    axes: Matrix


class Derived(Model):
    """What follows from the tensors; null where they do not allow it, and `reasons` say why."""

    optics: OpticsData | None
    moduli: ModuliData | None
    principal: list[PrincipalData]
    reasons: dict[str, str]


class Repeat(Model):
    """How to get the same result: a command line, and lines of Python."""

    command: str
    python: str


class CrystalResult(Model):
    """A predicted crystal; `table`: what `voigt predict` prints of it; `born`: whether it has what BORN needs.

    `sites`: multiplicity and Wyckoff letter of every atom.
    """

    scene: Scene
    sites: list[str]
    derived: Derived
    table: str
    born: bool


class PredictAnswer(Model):
    """POST /api/predict: crystals in the order of the file, and those without a result."""

    crystals: list[CrystalResult]
    failures: list[Problem]
    repeat: Repeat


class Health(Model):
    """GET /healthz: `ready` once every worker has loaded its models."""

    status: Literal["ok", "starting"]
    version: str
    workers: int
