"""Who answers a request: the model that is named, or those that ship and give what is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests import crystals
from tests.predictions import made_up

import voigt
from voigt.api import Failure, Settings
from voigt.errors import DomainError, InputError, TargetError, WeightsError
from voigt.models.checkpoint import available_models, load_model
from voigt.prediction import predict_structures
from voigt.prediction.plan import choose_models, cover, shipped_properties
from voigt.prediction.result import Prediction, merge
from voigt.structures import read

OFFERS = {
    "born": ("born_charges", "eps_inf"),
    "dielectric": ("eps_inf", "eps_ionic", "eps_total"),
    "elastic": ("elastic",),
    "piezo": ("piezo_total",),
}
MANY = ("eps_inf", "eps_total", "piezo_total", "elastic")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("eps_inf",), {"born": ("eps_inf",)}),
        (("eps_total",), {"dielectric": ("eps_total",)}),
        (("eps_total", "eps_inf"), {"dielectric": ("eps_total", "eps_inf")}),
        (("eps_inf", "born_charges"), {"born": ("eps_inf", "born_charges")}),
        # Two of each: the default model is asked first.
        (("eps_inf", "eps_total", "born_charges"), {"born": ("eps_inf", "born_charges"), "dielectric": ("eps_total",)}),
        (
            ("born_charges", "eps_inf", "eps_ionic", "eps_total"),
            {"dielectric": ("eps_inf", "eps_ionic", "eps_total"), "born": ("born_charges",)},
        ),
        (("piezo_total", "elastic"), {"elastic": ("elastic",), "piezo": ("piezo_total",)}),
        (MANY, {"dielectric": ("eps_inf", "eps_total"), "elastic": ("elastic",), "piezo": ("piezo_total",)}),
    ],
)
def test_models_that_give_most_are_taken_first(
    wanted: tuple[str, ...], expected: dict[str, tuple[str, ...]]
) -> None:
    found = cover(wanted, OFFERS)
    assert list(found.items()) == list(expected.items())
    assert cover(wanted, dict(reversed(OFFERS.items()))) == found  # the order of files decides nothing


def test_what_no_model_gives_is_named_with_what_ships() -> None:
    with pytest.raises(DomainError) as caught:
        cover(("eps_inf", "piezo_clamped", "band_gap"), OFFERS)
    said = str(caught.value)
    assert "no model that ships predicts piezo_clamped, band_gap" in said
    assert "there are born (born_charges, eps_inf), dielectric (eps_inf, eps_ionic, eps_total), elastic (" in said
    assert "voigt train" in said
    assert "--piezo" not in said
    with pytest.raises(DomainError, match=r"piezo_clamped plus what relaxing ions add.*--piezo"):
        cover(("piezo_total",), {"piezo": ("piezo_clamped",)})
    with pytest.raises(DomainError, match="there are none"):
        cover(("eps_inf",), {})


def test_headers_say_what_models_predict(shipped: Path) -> None:
    assert shipped_properties() == OFFERS


def test_no_weights_are_read_to_choose(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each file only the header is kept, the weights are noise."""
    for path in shipped.iterdir():
        content = path.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        (tmp_path / path.name).write_bytes(content[:header] + b"\xff" * (len(content) - header))
    monkeypatch.setattr("voigt.models.checkpoint.WEIGHTS", tmp_path)
    assert shipped_properties() == OFFERS


def test_a_damaged_file_is_named(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voigt.models.checkpoint.WEIGHTS", tmp_path)
    for content in (b"", (shipped / "born.safetensors").read_bytes()[:100]):
        (tmp_path / "born.safetensors").write_bytes(content)
        with pytest.raises(WeightsError, match=r"born\.safetensors is damaged"):
            choose_models(None, Settings(properties=("eps_inf",)))


def test_the_models_that_ship_say_what_they_predict() -> None:
    for name, properties in shipped_properties().items():
        assert properties == load_model(name).hypers.properties
    assert set(shipped_properties()) == set(available_models())


def test_who_is_asked(shipped: Path) -> None:
    default = choose_models(None, Settings())
    assert [share.model.name for share in default.shares] == ["born"]
    assert default.properties == ("born_charges", "eps_inf")
    named = choose_models("dielectric", Settings(properties=("eps_inf", "eps_inf")))
    assert [share.model.name for share in named.shares] == ["dielectric"]
    assert named.properties == ("eps_inf",)
    with pytest.raises(DomainError, match="model 'piezo' does not predict eps_inf; it predicts piezo_total"):
        choose_models(shipped / "piezo.safetensors", Settings(properties=("eps_inf", "piezo_total")))
    with pytest.raises(TargetError, match="unknown property 'eps'"):
        choose_models(None, Settings(properties=("eps",)))


def test_several_models_give_what_each_gives_alone(shipped: Path) -> None:
    atoms = crystals.quartz()
    (together,) = voigt.predict(atoms, settings=Settings(properties=MANY))
    assert list(together.values) == list(MANY)
    owners = {"eps_inf": "dielectric", "eps_total": "dielectric", "piezo_total": "piezo", "elastic": "elastic"}
    assert dict(together.models) == owners
    assert dict(together.functionals) == {
        "eps_inf": "PBEsol",
        "eps_total": "PBEsol",
        "piezo_total": None,
        "elastic": "PBE",
    }
    assert together.warnings == ()
    for name, owner in owners.items():
        (alone,) = voigt.predict(atoms, owner)
        np.testing.assert_allclose(together.values[name], alone.values[name], atol=1e-7)
        np.testing.assert_allclose(together.raw[name], alone.raw[name], atol=1e-7)
        assert together.units[name] == alone.units[name]
        assert set(together.residual) == set(MANY)
    assert np.linalg.eigvalsh(together.values["eps_total"] - together.values["eps_inf"]).min() >= 0
    assert together.drift is None
    (charges,) = voigt.predict(atoms, settings=Settings(properties=("elastic", "born_charges")))
    assert list(charges.values) == ["elastic", "born_charges"]
    assert charges.drift is not None


def test_a_functional_that_only_some_models_know(shipped: Path) -> None:
    atoms = crystals.quartz()
    request = ("elastic", "piezo_total", "eps_inf", "eps_total")
    (pbesol,) = voigt.predict(atoms, settings=Settings(properties=request, functional="PBEsol"))
    expected = {"elastic": "PBE", "piezo_total": None, "eps_inf": "PBEsol", "eps_total": "PBEsol"}
    assert dict(pbesol.functionals) == expected
    assert set(pbesol.warnings) == {
        "model 'elastic' knows no functional PBEsol: elastic predicted for PBE",
        "model 'piezo' knows no functional PBEsol: piezo_total of a functional that its model does not state",
    }
    (pbe,) = voigt.predict(atoms, settings=Settings(properties=("elastic", "eps_inf"), functional="PBE"))
    assert set(pbe.functionals.values()) == {"PBE"}
    assert pbe.warnings == ()
    assert abs(pbe.values["eps_inf"] - pbesol.values["eps_inf"]).max() > 1e-4
    for model, said in ((None, "none of the models knows functional LDA"), ("born", "knows no functional LDA")):
        with pytest.raises(DomainError, match=said):
            choose_models(model, Settings(properties=None if model else request, functional="LDA"))


def test_a_crystal_that_one_model_cannot_predict(shipped: Path) -> None:
    """`elastic` has never seen zinc, and no model lithium."""
    settings = Settings(properties=("elastic", "eps_inf"))
    lithium = crystals.rocksalt()
    lithium.symbols[0] = "Li"
    results = list(predict_structures(read([crystals.rocksalt(), crystals.wurtzite(), lithium]), None, settings))
    assert list(results[0].values) == ["elastic", "eps_inf"]
    assert results[0].warnings == ()
    assert list(results[1].values) == list(results[1].models) == ["eps_inf"]
    (warning,) = results[1].warnings
    assert warning.startswith("elastic not predicted: Zn not among the 9 elements that model 'elastic' was trained on")
    assert isinstance(results[2], Failure)
    assert "model 'elastic'" in results[2].reason
    assert "model 'born'" in results[2].reason
    with pytest.raises(InputError, match="Li not among"):
        voigt.predict([crystals.rocksalt(), lithium], settings=settings)


def test_what_several_models_say_alike_is_said_once(shipped: Path) -> None:
    metal = crystals.rocksalt()
    metal.symbols[:] = "MgAl"
    (prediction,) = voigt.predict(metal, settings=Settings(properties=("eps_inf", "piezo_total")))
    assert sum("probably a metal" in warning for warning in prediction.warnings) == 1
    bad = crystals.rocksalt()
    bad.positions[0] = np.nan
    (failure,) = predict_structures(read([bad]), None, Settings(properties=("eps_inf", "piezo_total")))
    assert failure.reason.count("frame 0") == 1


@pytest.mark.parametrize(("zz", "below"), [(2.5, None), (1.75, "0.25")])
def test_dielectric_tensors_of_two_models_that_contradict(zz: float, below: str | None) -> None:
    """No field polarizes a crystal less for its ions being free to move."""

    def part(name: str, model: str, value: np.ndarray) -> Prediction:
        drawn = made_up(crystals.rutile(), "a", (name,))
        return replace(drawn, values={name: value}, models={name: model}, notes=())

    eps_inf = part("eps_inf", "born", np.diag([2.0, 2.0, 2.0]))
    eps_total = part("eps_total", "dielectric", np.diag([3.0, 3.0, zz]))
    merged = merge([eps_inf, eps_total], ("eps_total", "eps_inf"))
    assert list(merged.values) == ["eps_total", "eps_inf"]
    expected = f"eps_total (model 'dielectric') is below eps_inf (model 'born') by up to {below}, which cannot be"
    assert [warning.split(";")[0] for warning in merged.warnings] == ([] if below is None else [expected])


def test_the_gap_model_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever predicts crystal by crystal with a loaded model does not wait for a file each time."""
    born = load_model("born")
    first = choose_models(born, Settings()).gap
    read: list[object] = []
    monkeypatch.setattr("voigt.prediction.plan.load_model", read.append)
    second = choose_models(born, Settings()).gap
    assert first is not None
    assert second is not None
    assert second.model is first.model
    assert not read
