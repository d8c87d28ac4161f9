# %% [markdown]
# # Your own data
#
# Train a model on labeled structures of your own, look at its errors, and predict with it. Training needs the extra
# `train`: `pip install "voigt[train]"`.
#
# The labels of this page come from a formula, so that it runs in seconds and you can see whether the network has
# learned it. Put your DFT results in their place.
#
# ## Labeled structures
#
# Sixty strained crystals in the rocksalt structure. Each gets Born charges that depend on its bond lengths: a bond
# that is shorter than normal carries more charge, in its own direction.

# %%
import numpy as np
from ase.build import bulk
from ase.io import write
from ase.neighborlist import neighbor_list

LATTICE = {"MgO": 4.21, "CaO": 4.81, "SrO": 5.16, "MgS": 5.20, "CaS": 5.69, "SrS": 6.02}


def born_charges(atoms, a):
    """A formula in the place of a calculation: two thirds of an electron per bond, more where it is short."""
    first, bond = neighbor_list("iD", atoms, 0.62 * a)
    length = np.linalg.norm(bond, axis=1, keepdims=True)
    shares = (a / 2 / length[:, :, None]) ** 3 * np.einsum("pi,pj->pij", bond / length, bond / length)
    z = np.zeros((len(atoms), 3, 3))
    np.add.at(z, first, shares * np.where(np.isin(atoms.numbers, [8, 16]), -1, 1)[first][:, None, None])
    return z - z.mean(axis=0)


rng = np.random.default_rng(0)
frames = []
for formula, a in LATTICE.items():
    for copy in range(10):
        atoms = bulk(formula, "rocksalt", a=a)
        strain = 0.04 * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        atoms.arrays["born_charges"] = born_charges(atoms, a).reshape(-1, 9)  # Z[field, displacement], row-major
        split = "train" if copy < 7 else "val" if copy < 8 else "test"
        atoms.info = {"id": f"{formula}-{copy}", "functional": "PBEsol", "split": split}
        frames.append(atoms)
write("mine.extxyz", frames)

# %% [markdown]
# Look at what Voigt reads before training on it. Shapes, index order and units are in
# [Conventions](../conventions.md).

# %%
from voigt.data import read_labeled

crystals = read_labeled("mine.extxyz", ["born_charges"])
print(len(crystals), "crystals;", crystals[0].targets["born_charges"].shape, crystals[0].functional, crystals[0].split)

# %% [markdown]
# ## Training
#
# A recipe says what to learn from which files, and how. Every key has a default; [Recipe](../recipe.md) lists them.
# This network is far too small for real work, where `channels: 32`, `interactions: 3` (the defaults) and a hundred
# passes are a good start.

# %%
from pathlib import Path

Path("mine.yaml").write_text("""
name: mine
data: [{path: mine.extxyz}]
split: {kind: stored}            # as written above; 'formula' splits by compound
targets: {born_charges: {loss: l1}}
model: {channels: 8, interactions: 1, cutoff: 4.0}
optimizer: {lr: 0.02, warmup_steps: 5, ema: 0.9}
batch_size: 8
epochs: 30
""");

# %% [markdown]
# On the command line this is `voigt train mine.yaml -o runs/mine`. From Python:

# %%
from voigt.training import load_recipe, train

result = train(load_recipe("mine.yaml"), "runs/mine")
print(result.model)

# %% [markdown]
# `metrics.csv` has one row per validation:

# %%
import csv

import matplotlib.pyplot as plt

with Path("runs/mine/metrics.csv").open() as stream:
    rows = [row for row in csv.DictReader(stream) if row.get("val/born_charges_mae")]
figure, axes = plt.subplots(figsize=(5, 3))
axes.semilogy([float(row["epoch"]) for row in rows], [float(row["val/born_charges_mae"]) for row in rows])
axes.set(xlabel="pass", ylabel="validation error (e)");

# %% [markdown]
# ## How good is it?
#
# The test crystals were not used so far. `voigt evaluate runs/mine/mine.safetensors mine.extxyz` prints a report with
# intervals, a baseline and figures; in Python:

# %%
import voigt
from voigt.evaluation import evaluate_model

model = voigt.load_model("runs/mine/mine.safetensors")
score = evaluate_model(model, ["mine.extxyz"], split="test").evaluation.properties["born_charges"].scores["mae"]
print(f"mean absolute error {score.model.value:.3f} e, mean charge of each element {score.baseline.value:.3f} e")
assert score.model.value < score.baseline.value / 2

# %%
test = [frame for frame in frames if frame.info["split"] == "test"]
predicted = np.stack([entry.values["born_charges"] for entry in voigt.predict(test, model)])
label = np.stack([frame.arrays["born_charges"].reshape(-1, 3, 3) for frame in test])
figure, axes = plt.subplots(figsize=(4, 4))
axes.plot(label.ravel(), predicted.ravel(), ".")
axes.axline((0, 0), slope=1, color="gray", lw=0.8)
axes.set(xlabel="label (e)", ylabel="prediction (e)");

# %% [markdown]
# ## A new crystal
#
# The model is one file. Use it like one that ships, also with `voigt predict --model runs/mine/mine.safetensors`.

# %%
prediction = voigt.predict(bulk("MgO", "rocksalt", a=4.25), model)[0]
prediction.values["born_charges"][0].round(2)

# %% [markdown]
# ## What to look out for
#
# * **Split by formula** (`split: {kind: formula}`) if you want to know how the model fares on new compounds. The
#   split above only
#   tests new strains of compounds that it has seen.
# * **One functional.** Labels of PBE and PBEsol differ; Voigt refuses to mix them unless the network is told which is
#   which.
# * **Few labels?** Start from a model that ships: `finetune: born` ([Training](../training.md#fine-tuning)).
# * **Uncertainty** needs an ensemble: `voigt train mine.yaml -o runs/ensemble --members 4`.
