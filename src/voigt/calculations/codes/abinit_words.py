"""Numbers of ABINIT for functionals and spins."""

from __future__ import annotations

_OF_IXC = {
    1: "LDA", 2: "LDA", 3: "LDA", 4: "LDA", 5: "LDA", 6: "LDA", 7: "LDA", 8: "LDA", 9: "LDA", 10: "LDA",
    11: "PBE", 14: "revPBE", 15: "RPBE", 23: "WC", 41: "PBE0", 42: "PBE0",
}  # fmt: skip
_OF_LIBXC = {
    (1, 7): "LDA", (1, 9): "LDA", (1, 12): "LDA", (101, 130): "PBE", (116, 133): "PBEsol", (102, 130): "revPBE",
    (117, 130): "RPBE", (118, 130): "WC", (109, 134): "PW91", (263, 267): "SCAN", (493, 494): "rSCAN",
    (497, 498): "r2SCAN",
    (0, 20): "LDA", (0, 406): "PBE0", (0, 402): "B3LYP", (0, 427): "HSE03", (0, 428): "HSE06",
}  # fmt: skip
"""Numbers of exchange and correlation, or of one functional for both."""


def functional_of_ixc(ixc: int) -> str:
    """Label of `ixc`: negative ones hold three digits of libxc for exchange and three for correlation, in any order.

    Examples
    --------
    >>> functional_of_ixc(11), functional_of_ixc(-116133), functional_of_ixc(-1012), functional_of_ixc(-99)
    ('PBE', 'PBEsol', 'LDA', 'ixc -99')
    """
    if ixc >= 0:
        return _OF_IXC.get(ixc, f"ixc {ixc}" if ixc else "")
    first, second = sorted(divmod(-ixc, 1000))
    return _OF_LIBXC.get((first, second), f"ixc {ixc}")


def spin_of(polarizations: float, spinors: float, densities: float) -> str:
    """What nsppol, nspinor and nspden say of the spin.

    Examples
    --------
    >>> spin_of(1, 1, 1), spin_of(2, 1, 2), spin_of(1, 2, 4), spin_of(1, 1, 2)
    ('none', 'collinear', 'noncollinear', 'collinear')
    """
    if spinors == 2 or densities == 4:
        return "noncollinear"
    return "collinear" if polarizations == 2 or densities == 2 else "none"
