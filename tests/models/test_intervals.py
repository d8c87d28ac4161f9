"""Rules of intervals: their formula, their place in model files, and what is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.predictions import save_tiny_model

from voigt.errors import WeightsError
from voigt.models.checkpoint import available_models, load_model, write_counts, write_intervals
from voigt.models.intervals import IntervalRule, half_width, intervals_json, parse_intervals

RULE = IntervalRule(
    level=-0.3, spread=0.8, norm=0.2, systems={"cubic": 0.1, "triclinic": -0.2}, functionals={"PBE": 0.4},
    error_floor=0.01, spread_floor=0.02, norm_floor=1.0, spread_limits=(0.0, 1.0),
    norm_limits=(0.1, 50.0), crystals=640,
)  # fmt: skip
RULES = {"born_charges": RULE, "eps_inf": replace(RULE, spread=0.0)}


def test_the_half_width_follows_its_formula() -> None:
    norm, spread = np.array([3.0, 0.5]), np.array([0.2, 0.0])
    found = half_width(RULE, norm, spread, "cubic", "PBE")
    for k in range(2):
        power = (spread[k] + 0.02) ** 0.8 * (norm[k] + 1.0) ** 0.2
        assert found[k] == pytest.approx(np.exp(-0.3 + 0.1 + 0.4) * power - 0.01)
    other = half_width(RULE, norm, spread, "hexagonal", "HSE")  # neither is listed
    np.testing.assert_allclose((found + 0.01) / (other + 0.01), np.exp(0.5))
    np.testing.assert_array_equal(half_width(RULE, norm, spread, "hexagonal", None), other)


def test_a_rule_that_needs_a_spread_gives_nothing_without_one() -> None:
    assert half_width(RULE, np.array(1.0), None, "cubic", None) is None
    assert half_width(RULES["eps_inf"], np.array(1.0), None, "cubic", None) == pytest.approx(
        np.exp(-0.2) * 2.0**0.2 - 0.01
    )


def test_half_widths_are_finite_and_above_zero() -> None:
    huge = replace(RULE, level=1e3, norm=1e3)
    assert np.isfinite(half_width(huge, np.array(1e9), np.array(1e9), "cubic", "PBE"))
    tiny = replace(RULE, level=-1e3)
    assert half_width(tiny, np.array(1.0), np.array(1.0), "cubic", None) == 0.01


def test_beyond_what_was_seen_nothing_is_extrapolated() -> None:
    def found(norm: float, spread: float) -> float:
        return float(half_width(RULE, np.array(norm), np.array(spread), "cubic", None))

    assert found(1e6, 0.5) == found(50.0, 0.5) > found(49.0, 0.5)
    assert found(0.0, 0.5) == found(0.1, 0.5)
    assert found(1.0, 1e3) == found(1.0, 1.0) > found(1.0, 0.9)


def test_rules_come_back_from_text() -> None:
    assert parse_intervals(intervals_json(RULES)) == RULES


def test_a_file_keeps_its_intervals_and_only_they_change(tmp_path: Path) -> None:
    path = save_tiny_model(tmp_path / "tiny.safetensors")
    before, content = load_model(path), path.read_bytes()
    assert before.intervals == {}
    with safe_open(path, framework="pt") as stream:
        metadata = stream.metadata()
    write_intervals(path, RULES)
    assert load_model(path).intervals == RULES
    assert load_model(path).card == before.card
    assert tensors(path.read_bytes()) == tensors(content)
    with safe_open(path, framework="pt") as stream:
        assert {key: text for key, text in stream.metadata().items() if key != "intervals"} == metadata
    write_intervals(path, {"eps_inf": RULE})  # in the place of the others
    assert load_model(path).intervals == {"eps_inf": RULE}
    write_intervals(path, {})
    assert load_model(path).intervals == {}
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny.safetensors"]


def tensors(content: bytes) -> bytes:
    """What follows the header of a safetensors file."""
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_counts_and_intervals_leave_each_other_alone(tmp_path: Path) -> None:
    path = save_tiny_model(tmp_path / "tiny.safetensors")
    before = tensors(path.read_bytes())
    write_intervals(path, RULES)
    write_counts(path, {8: 3})
    write_intervals(path, RULES)
    assert load_model(path).intervals == RULES
    assert load_model(path).card.element_counts == {8: 3}
    assert tensors(path.read_bytes()) == before


def test_models_of_older_releases_have_none() -> None:
    with safe_open(available_models()["born"], framework="pt") as stream:
        old = "intervals" not in stream.metadata()
    assert not old or load_model("born").intervals == {}


HOSTILE = {
    "no JSON": "{",
    "a list": "[]",
    "a number": '{"eps_inf": 3}',
    "NaN": json.dumps({"eps_inf": {**asdict(RULE), "level": float("nan")}}),
    "infinite": json.dumps({"eps_inf": {**asdict(RULE), "spread": float("inf")}}),
    "far too large": json.dumps({"eps_inf": {**asdict(RULE), "norm": 1e300}}),
    "a floor of zero": json.dumps({"eps_inf": {**asdict(RULE), "error_floor": 0.0}}),
    "a floor below zero": json.dumps({"eps_inf": {**asdict(RULE), "norm_floor": -1.0}}),
    "a limit below zero": json.dumps({"eps_inf": {**asdict(RULE), "norm_limits": [-1.0, 1.0]}}),
    "three limits": json.dumps({"eps_inf": {**asdict(RULE), "spread_limits": [1.0, 1.0, 1.0]}}),
    "a text": json.dumps({"eps_inf": {**asdict(RULE), "level": "wide"}}),
    "a key missing": json.dumps({"eps_inf": {k: v for k, v in asdict(RULE).items() if k != "norm"}}),
    "an unknown property": json.dumps({"colour": asdict(RULE)}),
    "an unknown crystal system": json.dumps({"eps_inf": {**asdict(RULE), "systems": {"round": 0.0}}}),
    "no crystals": json.dumps({"eps_inf": {**asdict(RULE), "crystals": 0}}),
    "many functionals": json.dumps({"eps_inf": {**asdict(RULE), "functionals": {f"f{k}": 0.0 for k in range(10_000)}}}),
    "an escape": json.dumps({"eps_inf": {**asdict(RULE), "functionals": {"\x1b[2J": 0.0}}}),
    "a long name": json.dumps({"eps_inf": {**asdict(RULE), "functionals": {"P" * 100_000: 0.0}}}),
    "many properties": json.dumps({f"p{k}": asdict(RULE) for k in range(5_000)}),
    "nested": "[" * 100_000 + "]" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_damaged_metadata_are_refused(name: str, tmp_path: Path) -> None:
    path = save_tiny_model(tmp_path / "tiny.safetensors", 1)
    with safe_open(path, framework="pt") as stream:
        metadata = stream.metadata()
    save_file(load_file(path), path, metadata | {"intervals": HOSTILE[name]})
    with pytest.raises(WeightsError, match="unreadable metadata") as caught:
        load_model(path)
    assert len(str(caught.value)) < 600
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 8 + b"{}", (2).to_bytes(8, "little") + b"{}", b"\0" * 40])
def test_intervals_are_written_into_model_files_only(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(WeightsError, match="is no model file"):
        write_intervals(path, RULES)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    with pytest.raises(WeightsError, match="is no model file"):
        write_intervals(tmp_path / "nowhere.safetensors", RULES)
