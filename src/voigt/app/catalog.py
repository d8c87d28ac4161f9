"""What a server offers: models, properties, potentials, elements of training sets, examples."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from voigt import __version__
from voigt.app import limits as bounds
from voigt.app.limits import Limits
from voigt.app.problems import FAILED, refusal
from voigt.app.schema import (
    ElementInfo,
    ElementsAnswer,
    ExampleInfo,
    ExamplesAnswer,
    ModelInfo,
    ModelsAnswer,
    PotentialInfo,
    PropertyInfo,
)
from voigt.app.schema import Limits as LimitsAnswer

_EXAMPLES = (
    ("SiO2-quartz.cif", "α-quartz, SiO₂"),
    ("MgO.vasp", "periclase, MgO"),
    ("BaTiO3.vasp", "tetragonal barium titanate, BaTiO₃"),
    ("ZnO.cif", "zincite, ZnO"),
    ("LiNbO3.cif", "ferroelectric lithium niobate, LiNbO₃"),
)
"""Measured structures; the head of each file names the paper."""
_FOLDER = Path(__file__).resolve().parent / "examples"


@lru_cache(maxsize=1)
def shipped() -> list[ModelInfo]:
    """Models that ship, the default first; takes a second the first time."""
    from voigt.models.checkpoint import DEFAULT_MODEL, available_models, load_model
    from voigt.prediction.pipeline import functionals_of

    found = []
    for name, path in available_models().items():
        model = load_model(name)
        found.append(
            ModelInfo(
                name=name,
                default=name == DEFAULT_MODEL,
                properties=list(model.hypers.properties),
                method=model.hypers.method,
                members=model.ensemble_size,
                functionals=list(functionals_of(model)),
                elements=len(model.card.elements),
                bytes=path.stat().st_size,
            )
        )
    return sorted(found, key=lambda entry: not entry.default)


def models(limits: Limits) -> ModelsAnswer:
    """Models that ship, properties, potentials, limits."""
    from voigt.response.potentials import DEFAULT, POTENTIALS
    from voigt.tensors.properties import PROPERTIES

    found = shipped()
    properties = [
        PropertyInfo(
            name=name,
            label=prop.label,
            meaning=prop.meaning,
            unit="" if prop.unit == "1" else prop.unit,
            per=prop.per,
            models=[entry.name for entry in found if name in entry.properties],
        )
        for name, prop in PROPERTIES.items()
    ]
    potentials = [
        PotentialInfo(
            name=entry.name,
            functional=entry.functional,
            training=entry.training,
            source=entry.source,
            install=entry.install,
            installed=find_spec(entry.module) is not None,
            default=entry.name == DEFAULT,
        )
        for entry in POTENTIALS.values()
    ]
    stated = LimitsAnswer(
        body_bytes=bounds.MOST_BYTES,
        atoms=bounds.MOST_ATOMS,
        structures=bounds.MOST_STRUCTURES,
        upload_s=limits.upload_s,
        predict_s=limits.predict_s,
        job_s=limits.job_s,
        result_kept_s=limits.kept_s,
    )
    return ModelsAnswer(version=__version__, models=found, properties=properties, potentials=potentials, limits=stated)


def elements(name: str | None) -> ElementsAnswer:
    """The periodic table of a model's training set; None: of the default model. RequestError for an unknown name."""
    from voigt.models.checkpoint import DEFAULT_MODEL, available_models

    there = available_models()
    chosen = DEFAULT_MODEL if name is None else name
    if chosen not in there:
        text = f"no model {chosen[:100]!r} among those that ship ({', '.join(there) or 'none in this installation'})"
        raise refusal(FAILED, "wrong_input", text)
    return _elements(chosen)


@lru_cache(maxsize=16)
def _elements(name: str) -> ElementsAnswer:
    from ase.data import atomic_names, chemical_symbols

    from voigt.models.checkpoint import load_model
    from voigt.models.elements import table_layout
    from voigt.writers.elements import RARE

    card = load_model(name).card
    return ElementsAnswer(
        model=name,
        rare=RARE,
        elements=[
            ElementInfo(
                z=z,
                symbol=chemical_symbols[z],
                name=atomic_names[z],
                column=column,
                row=row,
                known=z in card.elements,
                count=card.element_counts.get(z, 0) if card.element_counts else None,
            )
            for z, (column, row) in enumerate(table_layout()[1:].tolist(), start=1)
        ],
    )


@lru_cache(maxsize=1)
def examples() -> ExamplesAnswer:
    """Crystals to try."""
    found = []
    for name, title in _EXAMPLES:
        text = (_FOLDER / name).read_text(encoding="utf-8")
        # The first lines say where the structure is from, behind the name of the crystal.
        head = " ".join(line.lstrip("# ") for line in text.split("data_")[0].splitlines() if line.startswith("#"))
        source = (head or text.splitlines()[0]).strip()
        found.append(ExampleInfo(name=name, title=title, source=source, text=text))
    return ExamplesAnswer(examples=found)
