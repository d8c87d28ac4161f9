"""A network whose readouts learn what the members of an ensemble say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ase.io import write
from tests.training.synthetic import labeled_crystals, recipe, write_data

from voigt.errors import RecipeError
from voigt.graphs import collate
from voigt.models.checkpoint import load_model
from voigt.training.datamodule import CrystalDataModule, read_data
from voigt.training.device import Budget, train_on_device
from voigt.training.ensemble import train_ensemble
from voigt.training.run import train
from voigt.training.teacher import taught

CPU = torch.device("cpu")
DATA = [{"path": "data.extxyz"}, {"path": "more.extxyz", "targets": [], "functional": "PBE"}]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Labeled crystals, some without labels, and a trained ensemble of three."""
    folder = tmp_path_factory.mktemp("teacher")
    write_data(folder)
    bare = labeled_crystals(3)
    for atoms in bare:
        del atoms.arrays["born_charges"], atoms.info["eps_inf"], atoms.info["functional"]
    bare[0].numbers[0] = 38  # the teacher has not seen strontium
    bare[1].info["split"] = "test"
    write(folder / "more.extxyz", bare, format="extxyz")
    return folder, str(train_ensemble(recipe(folder, epochs=10), 3, folder / "ensemble"))


def student(world: tuple[Path, str], **changes: object):
    given = {"data": DATA, "model": {"members": 3}, "teacher": world[1], **changes}
    return recipe(world[0], **given)


def test_labels_of_the_teacher(world):
    """Its members label what has no label; labels stay, unknown elements and other parts are left out."""
    given = student(world)
    data = read_data(given)
    assert not any(data.crystals[i].id.endswith("-3") for i in data.parts["val"] + data.parts["test"])
    plain = CrystalDataModule(given, data).train_graphs
    graphs = taught(plain, given, CPU)
    assert len(plain) - len(graphs) == 1
    learned = [graph for graph in graphs if bool(torch.isfinite(graph.targets["eps_inf"][:, 0]).all())]
    others = [graph for graph in graphs if not bool(torch.isfinite(graph.targets["eps_inf"][:, 0]).any())]
    assert len(learned) == 9
    assert len(others) == 8 - 1
    for graph in learned:
        assert bool(torch.isnan(graph.targets["born_charges"][:, 1:]).all())
    teacher = load_model(world[1])
    for graph in others:
        with torch.no_grad():
            for k, member in enumerate(teacher.members):
                for name, value in member(collate([graph])).items():
                    torch.testing.assert_close(graph.targets[name][:, 1 + k], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", ["lightning", "device"])
def test_members_follow_the_teacher(world, tmp_path, how):
    """Readout k departs from the mean as member k does."""
    given = student(world, epochs=30, finetune=world[1], optimizer={"lr": 0.003})
    trained = train(given, tmp_path) if how == "lightning" else train_on_device(given, tmp_path, Budget())
    model, teacher = load_model(trained.model), load_model(world[1])
    assert model.ensemble_size == 3
    assert 38 not in model.card.elements
    batch = collate(taught(CrystalDataModule(given, read_data(given)).train_graphs, given, CPU)[-7:])
    with torch.no_grad():
        said = torch.stack([member(batch)["eps_inf"].flatten() for member in teacher.members])
        outputs = model.members[0].forward_members(batch)
    heads = torch.stack([neutral["eps_inf"].flatten() for _, neutral in outputs])
    # Members differ from their mean in other directions than each other; so do the readouts.
    theirs, own = said - said.mean(dim=0), heads - heads.mean(dim=0)
    likeness = torch.nn.functional.cosine_similarity(own[:, None], theirs[None], dim=2)
    assert likeness.argmax(dim=1).tolist() == [0, 1, 2]
    assert float(likeness.diag().min()) > 0.5


def test_both_ways_of_training_see_the_same(world, tmp_path):
    given = student(world, precision="64")
    first, second = train(given, tmp_path / "a").model, train_on_device(given, tmp_path / "b", Budget()).model
    pairs = zip(load_model(first).members[0].parameters(), load_model(second).members[0].parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": {"members": 2}}, "has 3 members"),
        ({"targets": {"born_charges": {}, "eps_total": {}}, "data": DATA[:1]}, "does not predict eps_total"),
        ({"model": {"members": 3, "cutoff": 3.5}}, "differ in cutoff"),
    ],
)
def test_a_teacher_that_does_not_fit(world, changes, problem):
    given = student(world, **changes)
    graphs = CrystalDataModule(student(world), read_data(student(world))).train_graphs
    with pytest.raises(RecipeError, match=problem):
        taught(graphs, given, CPU)


def test_a_recipe_says_both_or_none(world):
    with pytest.raises(RecipeError, match="need each other"):
        recipe(world[0], model={"members": 3})
    with pytest.raises(RecipeError, match="need each other"):
        recipe(world[0], teacher=world[1])
    with pytest.raises(RecipeError, match="needs a teacher"):
        recipe(world[0], data=DATA)
