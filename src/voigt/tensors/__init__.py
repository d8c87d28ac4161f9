"""Property declarations, irreps, Voigt notation, projection onto crystal symmetry and sum rules."""
