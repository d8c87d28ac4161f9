"""With what VASP calculated: version, functional, Hubbard U, spin, k-points and cutoff, of OUTCAR or vasprun.xml."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from voigt.calculations.calculation import Provenance
from voigt.calculations.codes.vasp_outcar import setting
from voigt.calculations.codes.vasp_run import parameter

_GGA = {
    "PE": "PBE",
    "PS": "PBEsol",
    "91": "PW91",
    "RP": "RPBE",
    "RE": "revPBE",
    "AM": "AM05",
    "CA": "LDA",
    "PZ": "LDA",
    "MK": "optB86b",
    "BO": "optB88",
    "OR": "optPBE",
}
_LEXCH = {"2": "LDA", "7": "PW91", "8": "PBE"}
"""What VASP calls its functional internally, where GGA is not given."""
_HEAD = 1 << 20
"""Characters within which OUTCAR repeats its settings, the lists of k-points included."""


def settings_of_outcar(text: str, path: str) -> Provenance:
    """What the settings at the beginning of an OUTCAR say."""
    head = text[:_HEAD]
    version = re.match(r"\s*vasp\.(\d[\w.]*)", head)
    titles = re.findall(r"^[ \t]*TITEL\s*=\s*(\S.*)$", head, re.MULTILINE)
    species = [match[1] for title in titles if (match := re.search(r"(?:^|\s)([A-Z][a-z]?)(?=[_\s.]|$)", title))]
    values = {
        name: setting(head, name) or ""
        for name in ("GGA", "LEXCH", "METAGGA", "LHFCALC", "HFSCREEN", "AEXX", "LUSE_VDW")
    }
    repulsion = re.search(r"LDAUU\s*=([^\n]*)", head)
    mesh = re.search(r"generate k-points for:\s*(\d+)\s+(\d+)\s+(\d+)", head)
    cutoff = setting(head, "ENCUT")
    return Provenance(
        files=(path,),
        code="VASP",
        version=version[1].rstrip(".") if version else "",
        functional=_functional(values, titles, repulsion[1].split() if repulsion else ()),
        hubbard_u=_hubbard(species, repulsion[1].split() if repulsion else ()),
        spin=_spin(setting(head, "ISPIN"), setting(head, "LNONCOLLINEAR")),
        kpoints=tuple(int(word) for word in mesh.groups()) if mesh else (),
        cutoff=_number(cutoff),
    )


def settings_of_vasprun(text: str, path: str) -> Provenance:
    """What `<incar>`, `<parameters>` and `<kpoints>` of a vasprun.xml say."""
    head = text[: text.find("<calculation>")] if "<calculation>" in text else text[:_HEAD]
    version = re.search(r'<i name="version"[^>]*>\s*([\w.]+)', head)
    types = head.partition('<array name="atomtypes"')[2].partition("</array>")[0]
    rows = [row.partition("</rc>")[0] for row in types.split("<rc>")[1:]]
    cells = [[cell.strip() for cell in re.findall(r"<c>([^<]*)</c>", row)] for row in rows]
    species, titles = [row[1] for row in cells if len(row) > 1], [row[-1] for row in cells if row]
    names = ("GGA", "LEXCH", "METAGGA", "LHFCALC", "HFSCREEN", "AEXX", "LUSE_VDW")
    values = {name: (parameter(head, name) or "").strip() for name in names}
    on = (parameter(head, "LDAU") or "").upper().startswith("T")
    repulsion = (parameter(head, "LDAUU") or "").split() if on else []
    mesh = re.search(r'name="divisions"\s*>\s*(\d+)\s+(\d+)\s+(\d+)', head)
    return Provenance(
        files=(path,),
        code="VASP",
        version=version[1] if version else "",
        functional=_functional(values, titles, repulsion),
        hubbard_u=_hubbard(species, repulsion),
        spin=_spin(parameter(head, "ISPIN"), parameter(head, "LNONCOLLINEAR")),
        kpoints=tuple(int(word) for word in mesh.groups()) if mesh else (),
        cutoff=_number(parameter(head, "ENMAX") or parameter(head, "ENCUT")),
    )


def _functional(values: Mapping[str, str], titles: Sequence[str], repulsion: Sequence[str]) -> str:
    """Such as PBE, PBEsol+U, HSE06, SCAN; "" if nothing tells."""
    name = _GGA.get(values["GGA"].upper()) or _LEXCH.get(values["LEXCH"], "")
    if not name and titles:  # what the potentials were made with
        name = "PBE" if any("PBE" in title for title in titles) else "LDA" if titles[0].startswith("PAW ") else ""
    if values["LUSE_VDW"].upper().startswith("T") and name.startswith("opt"):
        name = f"{name}-vdW"
    meta = values["METAGGA"].strip("-").upper()
    name = meta if meta and meta not in ("NONE", "F") else name
    if values["LHFCALC"].upper().startswith("T"):
        screening, share = _number(values["HFSCREEN"]) or 0.0, _number(values["AEXX"]) or 0.25
        known = {(True, "PBE"): "HSE06", (False, "PBE"): "PBE0", (True, "PBEsol"): "HSEsol"}
        name = (
            known.get((screening > 0, name), f"{name}-hybrid")
            if abs(share - 0.25) < 1e-3
            else f"{name}-hybrid{share:g}"
        )
    return f"{name}+U" if name and any(_number(word) for word in repulsion) else name


def _hubbard(species: Sequence[str], repulsion: Sequence[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    for symbol, word in zip(species, repulsion, strict=False):
        if value := _number(word):
            values[symbol] = max(value, values.get(symbol, 0.0))
    return values


def _spin(ispin: str | None, noncollinear: str | None) -> str:
    if (noncollinear or "").upper().startswith("T"):
        return "noncollinear"
    return {"1": "none", "2": "collinear"}.get((ispin or "").strip(), "")


def _number(word: str | None) -> float | None:
    try:
        return float(word) if word else None
    except ValueError:
        return None
