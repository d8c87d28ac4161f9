"""The methods of this package: the only place that lists them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.model import Equivar
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.model import GoeCTP
from voigt.models.network import Network

Hypers = Annotated[EquivarHypers | GoeCTPHypers, Field(discriminator="method")]
DEFAULT_METHOD = "equivar"

_ADAPTER: TypeAdapter[EquivarHypers | GoeCTPHypers] = TypeAdapter(Hypers)


def parse_hypers(content: Any) -> EquivarHypers | GoeCTPHypers:
    """Validate hyper-parameters; the key `method` decides whose they are (without it: Equivar).

    Raises
    ------
    pydantic.ValidationError
        Unknown method or key, or a wrong value.
    """
    named = {"method": DEFAULT_METHOD, **content} if isinstance(content, dict) else content
    return _ADAPTER.validate_python(named)


def build_network(hypers: EquivarHypers | GoeCTPHypers) -> Network:
    """A network with fresh weights."""
    return Equivar(hypers) if isinstance(hypers, EquivarHypers) else GoeCTP(hypers)
