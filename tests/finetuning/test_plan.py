"""What is decided from the amount of data and the time."""

from __future__ import annotations

import pytest
import yaml
from ase.build import bulk
from tests.finetuning.worlds import frames, small_model, write_frames

import voigt.finetuning.plan as module
from voigt.finetuning.pages import recipe_page
from voigt.finetuning.plan import MOST_MEMBERS, SHARE, make_plan
from voigt.finetuning.survey import survey
from voigt.models.checkpoint import load_model
from voigt.training.recipe import parse_recipe


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A function that plans for some frames, a step taking so many seconds."""
    path = small_model(tmp_path)

    def planned(images, minutes=30.0, step=0.5, members=None):
        monkeypatch.setattr(module, "step_seconds", lambda *_: step)
        model = load_model(path)
        found = survey(model, [write_frames(tmp_path / "data.extxyz", images)])
        return make_plan(model, str(path), found, minutes, 0, members)[0]

    return planned


def symmetric(count):
    """Unshaken cells: all atoms of an element are equivalent."""
    images = frames(count)
    for k, atoms in enumerate(images):
        ideal = bulk("MgO", "rocksalt", 4.2 + 0.01 * k, cubic=True)
        atoms.set_cell(ideal.cell)
        atoms.positions = ideal.positions
    return images


def test_time_is_shared_among_the_networks(plan):
    some = plan(frames(80))
    assert some.members > 1
    assert some.members * some.seconds <= SHARE * 30 * 60 + 1e-6


def test_little_time_makes_one_network(plan):
    assert plan(frames(80), minutes=1.0).members == 1


def test_no_more_networks_and_passes_than_are_of_use(plan):
    endless = plan(frames(80), minutes=10_000.0)
    assert endless.members == MOST_MEMBERS
    assert endless.recipe.epochs <= module.MOST_PASSES


def test_asked_for_members_count(plan):
    assert plan(frames(40), minutes=1.0, members=3).members == 3


def test_small_cells_share_a_step(plan):
    assert plan(frames(160)).recipe.batch_size > 1


def test_symmetry_counts_where_there_is_some(plan):
    assert plan(frames(10)).recipe.symmetry is None
    assert plan(symmetric(10)).recipe.symmetry is not None


def test_the_written_recipe_is_the_one_that_was_made(plan):
    made = plan(frames(40, functional="SCAN"))
    assert parse_recipe(yaml.safe_load(recipe_page(made)), "page") == made.recipe
    assert len([line for line in recipe_page(made).splitlines() if line.startswith("# ")]) == len(made.reasons)


def test_a_property_without_labels_is_left_out_with_what_needs_it(plan):
    images = frames(10)
    for atoms in images:
        del atoms.arrays["born_charges"]
    assert set(plan(images).recipe.targets) == {"eps_inf"}
