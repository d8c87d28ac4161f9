"""All thresholds of the search for operations (`symmetry.search`), with the reason for each.

Two kinds. The first four say what counts as equal, in units of the tolerance symprec, and so decide what is found. The
others say where our search is quicker than spglib; they change the time taken and nothing else, because the answer is
spglib's on either side of them.
"""

from __future__ import annotations

EQUAL = 0.5
"""Lengths in a lattice that differ by less than this many tolerances are equal.

spglib says so up to 1. It reduces the lattice by another path and so compares other vectors: half a tolerance is equal
by either choice."""

ACCEPT = 0.25
"""Atoms less than this many tolerances apart are at one place.

spglib says so up to 1, but takes distances after a translation found from another atom, which can double them, and from
0.3 on keeps only some of the operations of long and thin cells, which ones depending on the order of the atoms."""

REJECT = 4.0
"""What differs by more than this many tolerances is not equal.

The other atom can double a distance here too, and spglib never takes a larger tolerance than it is given. Whatever lies
between ACCEPT (or EQUAL) and REJECT is left to spglib."""

REDUCTION = 1e-5
"""Tolerance of the lattice reduction, relative to squared lengths.

Any reduced cell will do, as lattice_rotations looks at all short vectors of it. This is far above rounding (1e-16), so
that the reduction ends, and far below what is measured afterwards."""

LOWEST_ORDER = 8
"""Order of the point group of a lattice below which spglib is as quick.

It is 2 for triclinic lattices, 4 for monoclinic ones, 8 for orthorhombic ones and more for all others. spglib takes
long where there are many operations; with 2 or 4 of them its 0.5 ms leave nothing to be gained."""

COMPARISONS = 2_500
"""Pairs of atoms compared in one go, for each operation of the lattice; spglib is as quick where there are more.

It also bounds the memory: 48 operations x 2,500 pairs x 3 coordinates x 8 bytes are 3 MB for each array."""

FEW = 4_000
"""Pairs of atoms, over all operations, up to which generators save nothing: one array operation compares them all."""

MANY = 300
"""Atoms above which spglib is not asked, which may take minutes, see `symmetry.large`."""

LARGE = 100
"""Atoms above which a cell is folded into a primitive one first, see `symmetry.folding`; smaller ones are quick."""

FOLDED = 1.0
"""Copies of an atom are off their mean by at most so many tolerances.

spglib compares copies with each other and may refuse some of these; the mean is what a larger tolerance would give."""

NEARLY_FOLDED = 0.125
"""The tolerance that is taken in place of the one given, times this, where translations hold only nearly.

spglib retreats in the same way, in some twenty steps; each takes seconds where there are thousands of translations."""

PROBES = 8
"""Atoms that a candidate for a translation must bring to another before all atoms are looked at."""

ATTEMPTS = 30
"""Candidates that may fail with all atoms after they held for the few asked first. Noise of the size of the tolerance
makes thousands of them fail one by one, a defect only some."""

SAME = 0.25
"""Angstrom; translations nearer to each other than this are one and noise, because no two atoms are so close."""
