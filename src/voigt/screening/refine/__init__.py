"""The second stage of a screening: the best crystals of the networks, assembled with a potential and ranked again.

DIR/refined/answers/<digest>.json   one for each crystal that is done: what it gave, or why it gave nothing
DIR/refined/refined.csv             the crystals in their new order
DIR/refined/refined.parquet         the same with relaxed structures and tensors, as the parts of a store
"""

from __future__ import annotations

from voigt.screening.refine.ranking import Refined, Refinement, read_refinement, write_refinement
from voigt.screening.refine.run import Refining, refine

__all__ = ["Refined", "Refinement", "Refining", "read_refinement", "refine", "write_refinement"]
