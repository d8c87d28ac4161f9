"""Labels by a trained ensemble, for a single network whose heads stand for its members (distillation).

G. Hinton, O. Vinyals, J. Dean, arXiv:1503.02531 (2015); one head for each member, so that their spread is learned too:
L. Tran et al., Hydra, arXiv:2001.04694 (2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from voigt.errors import RecipeError
from voigt.graphs import CrystalGraph, collate, pack
from voigt.models.checkpoint import LoadedModel, load_model
from voigt.tensors.properties import PROPERTIES
from voigt.training.recipe import Recipe

EDGES = {"cpu": 8_000, "cuda": 200_000}
"""Of a batch for the teacher."""


def taught(graphs: Sequence[CrystalGraph], recipe: Recipe, device: torch.device) -> Sequence[CrystalGraph]:
    """Training graphs with one more axis in their targets: the label, then what each member of the teacher says.

    The teacher labels crystals that have no label at all, and those with elements that it does not know are left out:
    what it says of crystals that it was trained on is too good, and its members agree there too well. Without a
    teacher the graphs are returned as they are.

    Parameters
    ----------
    graphs
        With labels, NaN where absent.
    recipe
        Its `teacher`, targets and network.
    device
        Where the teacher runs.

    Raises
    ------
    RecipeError
        The teacher gives other properties than the targets, knows other functionals, or has not as many members as
        the network has heads.
    """
    if recipe.teacher is None:
        return graphs
    teacher = load_model(recipe.teacher)
    _check(teacher, recipe)
    known = np.zeros(256, dtype=bool)
    known[list(teacher.card.elements)] = True
    learned, unlabeled = [], []
    for graph in graphs:
        if any(bool(torch.isfinite(label).any()) for label in graph.targets.values()):
            learned.append(_with_members(graph, {}, recipe.model.ensemble_size))
        elif known[graph.numbers.numpy()].all():
            unlabeled.append(graph)
    return learned + _labeled(unlabeled, teacher, recipe, device)


def _check(teacher: LoadedModel, recipe: Recipe) -> None:
    members = teacher.ensemble_size
    if members != recipe.model.ensemble_size:
        raise RecipeError(f"{recipe.teacher} has {members} members; set model.members to that")
    absent = [name for name in recipe.targets if name not in teacher.hypers.properties]
    if absent:
        raise RecipeError(f"{recipe.teacher} does not predict {', '.join(absent)}; remove it from the targets")
    for key in ("functionals", "cutoff", "neighbors", "axes_options"):
        if getattr(teacher.hypers, key) != getattr(recipe.model, key):
            raise RecipeError(f"{recipe.teacher} and the recipe's network differ in {key}")


def _labeled(
    graphs: Sequence[CrystalGraph], teacher: LoadedModel, recipe: Recipe, device: torch.device
) -> list[CrystalGraph]:
    order = np.argsort([graph.num_edges for graph in graphs], kind="stable")
    done: dict[int, CrystalGraph] = {}
    for member in teacher.members:
        member.to(device, torch.float64 if recipe.precision == "64" else torch.float32)
    for rows in pack([graphs[i].num_edges for i in order], EDGES[device.type]):
        chosen = [int(order[row]) for row in rows]
        batch = collate([graphs[i] for i in chosen]).to(device)
        with torch.no_grad():
            outputs = [neutral for member in teacher.members for _, neutral in member.forward_members(batch)]
        said = {name: torch.stack([output[name] for output in outputs], dim=1).cpu() for name in recipe.targets}
        atom = 0
        for place, i in enumerate(chosen):
            end = atom + graphs[i].num_atoms
            own = {
                name: value[atom:end] if PROPERTIES[name].per == "atom" else value[place : place + 1]
                for name, value in said.items()
            }
            done[i] = _with_members(graphs[i], own, recipe.model.ensemble_size)
            atom = end
    return [done[i] for i in range(len(graphs))]


def _with_members(graph: CrystalGraph, said: dict[str, Tensor], members: int) -> CrystalGraph:
    """`said`: property -> (n, members, 3, ..., 3); empty: the members say nothing."""
    targets = {}
    for name, label in graph.targets.items():
        nothing = torch.full((len(label), members, *label.shape[1:]), torch.nan, dtype=label.dtype)
        targets[name] = torch.cat([label[:, None], said.get(name, nothing).to(label.dtype)], dim=1)
    return replace(graph, targets=targets)
