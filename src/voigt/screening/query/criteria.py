"""Which crystals are selected, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

from voigt.screening.query.expressions import Expression, parse


@dataclass(frozen=True)
class Criteria:
    """A condition and a ranking.

    Attributes
    ----------
    where
        Condition; None: all crystals.
    rank
        Formula by which they are ranked; None: the order of the collection.
    ascending
        Whether the smallest rank comes first.
    """

    where: Expression | None = None
    rank: Expression | None = None
    ascending: bool = False

    @property
    def given(self) -> bool:
        """Whether there is a condition or a ranking."""
        return self.where is not None or self.rank is not None

    @property
    def by_option(self) -> tuple[tuple[str, Expression], ...]:
        """The expressions, each with the option of the command line that states it."""
        pairs = (("--where", self.where), ("--rank", self.rank))
        return tuple((option, expression) for option, expression in pairs if expression is not None)

    @property
    def properties(self) -> tuple[str, ...]:
        """Properties that have to be predicted, in alphabetic order."""
        return tuple(sorted({name for _, expression in self.by_option for name in expression.properties}))

    def record(self) -> dict[str, str | bool | None]:
        """As a manifest holds them; `read_criteria(**record)` gives them back."""
        texts = {option: expression.text for option, expression in self.by_option}
        return {"where": texts.get("--where"), "rank": texts.get("--rank"), "ascending": self.ascending}


def read_criteria(where: str | None = None, rank: str | None = None, ascending: bool = False) -> Criteria:
    """Parse a condition and a formula; messages begin with --where and --rank.

    Raises
    ------
    InputError
        See `voigt.screening.query.expressions.parse`.

    Examples
    --------
    >>> criteria = read_criteria("band_gap > 3", "eps_total * band_gap")
    >>> criteria.properties
    ('band_gap', 'eps_total')
    """
    return Criteria(
        None if where is None else parse(where, "--where", "truth"),
        None if rank is None else parse(rank, "--rank", "number"),
        ascending,
    )
