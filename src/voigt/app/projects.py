"""A phonopy project that was sent: a zip archive, or one YAML file, laid into a folder under names of our own."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from voigt.app.limits import MOST_MEMBERS, MOST_UNPACKED
from voigt.app.problems import FAILED, refusal
from voigt.app.structures import Upload
from voigt.errors import InputError
from voigt.response.phonons.yaml_files import PACKED
from voigt.structures.readers.failures import explain

_PLAIN = (
    "phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml", "disp.yaml", "POSCAR-unitcell", "POSCAR", "SPOSCAR",
    "FORCE_SETS", "FORCE_CONSTANTS", "force_constants.hdf5", "BORN", "phonopy.conf",
)  # fmt: skip
FILES = frozenset(name + ending for name in _PLAIN for ending in PACKED)
"""Names that a project's files have. Those of an archive are only compared with them."""
_CELLS = ("phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml", "POSCAR-unitcell", "POSCAR", "SPOSCAR")
_ZIP = b"PK\3\4"
_PIECE = 1 << 20


def holds_project(upload: Upload) -> bool:
    """Whether an upload is a project: an archive, or a YAML file by its name.

    Examples
    --------
    >>> holds_project(Upload("phonopy_params.yaml.xz")), holds_project(Upload("MgO.cif"))
    (True, False)
    """
    if upload.content.startswith(_ZIP):
        return True
    name = upload.name.lower()
    return any(name.endswith(f"{suffix}{ending}") for suffix in (".yaml", ".yml") for ending in PACKED)


def unpack_project(upload: Upload, folder: Path) -> Path:
    """Lay the files of a project into a folder, and return what `read_project` takes.

    Raises
    ------
    RequestError
        An archive that is broken, holds no project, or unfolds to too much.
    """
    folder.mkdir(parents=True)
    if not upload.content.startswith(_ZIP):
        ending = next((end for end in reversed(PACKED) if end and upload.name.lower().endswith(end)), "")
        target = folder / f"phonopy_params.yaml{ending}"
        target.write_bytes(upload.content)
        return target
    try:
        with zipfile.ZipFile(io.BytesIO(upload.content)) as archive:
            _unpack(upload.name, archive, folder)
    # zipfile raises NotImplementedError for ways of packing that it does not know.
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError, RuntimeError) as error:
        text = f"{upload.name}: {explain(error, 'a zip archive')}"
        raise refusal(FAILED, "unreadable", text) from error
    return folder


def _unpack(name: str, archive: zipfile.ZipFile, folder: Path) -> None:
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        text = f"{name} holds {len(members)} files, more than the {MOST_MEMBERS} of a project; pack its folder alone"
        raise refusal(413, "too_large", text)
    by_folder: dict[str, dict[str, zipfile.ZipInfo]] = {}
    for info in members:
        inner, _, last = info.filename.replace("\\", "/").rpartition("/")
        if last in FILES and "__MACOSX" not in inner:
            by_folder.setdefault(inner, {}).setdefault(last, info)
    homes = [inner for inner, files in by_folder.items() if _has_cell(files)]
    if not homes:
        names = ", ".join((*_CELLS[:2], "POSCAR-unitcell with FORCE_SETS or FORCE_CONSTANTS"))
        raise refusal(FAILED, "unreadable", f"{name} holds no phonopy project: none of {names}; pack its folder")
    home = min(homes, key=lambda inner: (inner.count("/"), inner))
    left = MOST_UNPACKED
    for last, info in by_folder[home].items():
        if info.flag_bits & 1:
            raise InputError(f"{name}: {last} is encrypted; pack it without a password")
        with archive.open(info) as source, (folder / last).open("wb") as target:
            while piece := source.read(_PIECE):  # what a header says of its size is not believed
                left -= len(piece)
                if left < 0:
                    text = f"{name} unfolds to more than {MOST_UNPACKED // 1_000_000} MB; leave out what is not needed"
                    raise refusal(413, "too_large", text)
                target.write(piece)


def _has_cell(files: dict[str, zipfile.ZipInfo]) -> bool:
    return any(name + ending in files for name in _CELLS for ending in PACKED)
