"""The methods of this package: the only place that lists them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.model import Equivar
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.model import GoeCTP
from voigt.models.hypers import NetworkHypers
from voigt.models.network import Network
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.model import SEN

Hypers = Annotated[EquivarHypers | GoeCTPHypers | SENHypers, Field(discriminator="method")]
DEFAULT_METHOD = "equivar"

_ADAPTER: TypeAdapter[EquivarHypers | GoeCTPHypers | SENHypers] = TypeAdapter(Hypers)


def parse_hypers(content: Any) -> EquivarHypers | GoeCTPHypers | SENHypers:
    """Validate hyper-parameters; the key `method` decides whose they are (without it: Equivar).

    Raises
    ------
    pydantic.ValidationError
        Unknown method or key, or a wrong value.
    """
    named = {"method": DEFAULT_METHOD, **content} if isinstance(content, dict) else content
    return _ADAPTER.validate_python(named)


def build_network(hypers: NetworkHypers) -> Network:
    """A network with fresh weights."""
    match hypers:
        case EquivarHypers():
            return Equivar(hypers)
        case GoeCTPHypers():
            return GoeCTP(hypers)
        case SENHypers():
            return SEN(hypers)
    raise TypeError(f"no method has hyper-parameters {type(hypers).__name__}")
