"""Graphs: crystals as tensors, their neighbors and canonical axes, and batches of several crystals."""

from __future__ import annotations

from voigt.graphs.batch import CrystalBatch, collate, pack
from voigt.graphs.canonical_axes import AxesOptions, CanonicalAxes
from voigt.graphs.graph import CrystalGraph, build_graph, with_axes
from voigt.graphs.neighbors import Neighbors, neighbor_list

__all__ = [
    "AxesOptions",
    "CanonicalAxes",
    "CrystalBatch",
    "CrystalGraph",
    "Neighbors",
    "build_graph",
    "collate",
    "neighbor_list",
    "pack",
    "with_axes",
]
