"""Runs are found by what files hold, in folders and archives; nothing hostile gets through, nothing useful is lost."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.calculations import vasp_files as vasp
from tests.calculations.runs import asymmetric, triclinic

from voigt.calculations.discovery import Run, discover
from voigt.errors import InputError
from voigt.notes import Failure

OUTCAR = vasp.outcar(triclinic(), vasp.permittivity(np.diag([5.0, 6.0, 7.0])), vasp.born(asymmetric(1, 5, 3, 3)))
XML = vasp.vasprun([(triclinic(), vasp.xml_matrix("epsilon", np.diag([5.0, 6.0, 7.0])))])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two runs, and what else lies in such folders."""
    root = tmp_path / "tree"
    vasp.write(root / "a", OUTCAR=OUTCAR, vasprun_xml=XML, INCAR="LEPSILON = T\n", WAVECAR="\0" * 100)
    vasp.write(root / "b" / "dfpt", log=OUTCAR)
    vasp.write(root / ".hidden", OUTCAR=OUTCAR)
    return root


def shown(sources: list[Path]) -> list[tuple[str, str, list[str]]]:
    """Identity, code and names of files of each run; none may have failed."""
    found = list(discover(sources))
    assert [entry for entry in found if isinstance(entry, Failure)] == []
    return [(run.identity, run.code.name, [file.name for file in run.files]) for run in found if isinstance(run, Run)]


def pack(tree: Path, path: Path, kind: str) -> Path:
    files = [file for file in sorted(tree.rglob("*")) if file.is_file()]
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(tree))
    else:
        with tarfile.open(path, kind) as archive:
            for file in files:
                archive.add(file, str(file.relative_to(tree)))
    return path


EXPECTED = [("a", "VASP", ["OUTCAR", "vasprun.xml"]), ("b/dfpt", "VASP", ["log"])]


def test_folders_are_walked_and_files_known_by_content(tree):
    assert shown([tree]) == EXPECTED


@pytest.mark.parametrize(("name", "kind"), [("t.tar", "w"), ("t.tar.gz", "w:gz"), ("t.txz", "w:xz"), ("t.zip", "zip")])
def test_archives_hold_what_the_folder_held(tree, tmp_path, name, kind):
    archive = pack(tree, tmp_path / name, kind)
    assert shown([archive]) == [(f"t/{identity}", code, files) for identity, code, files in EXPECTED]
    (run, _) = discover([archive])
    assert isinstance(run, Run)
    assert run.files[0].path == f"{archive}:a/OUTCAR"
    assert run.files[0].read() == OUTCAR
    assert shown([archive.parent])[:2] == [(f"t/{identity}", code, files) for identity, code, files in EXPECTED]


@pytest.mark.parametrize(("ending", "packer"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_packed_files_are_read(tmp_path, ending, packer: Callable[[bytes], bytes]):
    (tmp_path / f"OUTCAR.{ending}").write_bytes(packer(OUTCAR.encode()))
    (run,) = discover([tmp_path])
    assert isinstance(run, Run)
    assert (run.files[0].name, run.files[0].read()) == ("OUTCAR", OUTCAR)


def test_files_that_are_given_one_by_one_are_one_run(tree):
    assert shown([tree / "a" / "OUTCAR", tree / "a" / "vasprun.xml"]) == [("a", "VASP", ["OUTCAR", "vasprun.xml"])]
    assert shown([tree / "b" / "dfpt" / "log"]) == [("log", "VASP", ["log"])]


def test_sources_that_do_not_exist_are_named_at_once(tree):
    with pytest.raises(InputError, match=r"no such file or folder: one, two"):
        discover([tree, "one", "two"])


def test_what_is_no_output_is_named_if_it_was_given(tree):
    (failure,) = discover([tree / "a" / "INCAR"])
    assert isinstance(failure, Failure)
    assert "is no output that voigt knows" in failure.problem


def test_links_out_of_the_folder_are_not_followed(tree, tmp_path):
    outside = vasp.write(tmp_path / "outside", OUTCAR=OUTCAR)
    (tree / "c").mkdir()
    (tree / "c" / "OUTCAR").symlink_to(outside / "OUTCAR")
    (tree / "d").symlink_to(outside)
    (tree / "e").mkdir()
    (tree / "e" / "OUTCAR").symlink_to(tree / "a" / "OUTCAR")
    found = list(discover([tree]))
    failures = [entry for entry in found if isinstance(entry, Failure)]
    assert [(Path(failure.source).parent.name, failure.problem) for failure in failures] == [
        ("c", "is a link out of the folder that was given; give its target as well")
    ]
    assert [run.identity for run in found if isinstance(run, Run)] == ["a", "b/dfpt", "e"]


def test_spoilt_packing_is_named_and_the_rest_delivered(tree):
    (tree / "a" / "OUTCAR").unlink()
    (tree / "a" / "OUTCAR.gz").write_bytes(gzip.compress(b"")[:10] + b"\xff" * 99)
    found = list(discover([tree]))
    assert [Path(entry.source).name for entry in found if isinstance(entry, Failure)] == ["OUTCAR.gz"]
    assert len([entry for entry in found if isinstance(entry, Run)]) == 2


def test_an_archive_that_breaks_off_gives_what_came_before(tree, tmp_path):
    whole = pack(tree, tmp_path / "t.tar", "w").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: whole.index(b"b/dfpt/log")])
    found = list(discover([tmp_path / "cut.tar"]))
    assert [entry.identity for entry in found if isinstance(entry, Run)] == ["cut/a"]
    (failure,) = [entry for entry in found if isinstance(entry, Failure)]
    assert "breaks off" in failure.problem


def test_bombs_are_refused(tmp_path):
    bomb = gzip.compress(OUTCAR.encode() + b" " * (1 << 26))
    (tmp_path / "OUTCAR.gz").write_bytes(bomb)
    (run,) = discover([tmp_path / "OUTCAR.gz"])
    assert isinstance(run, Run)
    with pytest.raises(InputError, match="unfolds to more than"):
        run.files[0].read()
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/OUTCAR", OUTCAR + " " * (1 << 26))
    failure = next(discover([tmp_path / "bomb.zip"]))
    assert isinstance(failure, Failure)
    assert "unfolds to more than" in failure.problem


def test_members_with_hostile_names_stay_inside(tmp_path):
    path = tmp_path / "hostile.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("../../etc/OUTCAR", "/abs/OUTCAR"):
            info = tarfile.TarInfo(name)
            info.size = len(OUTCAR)
            archive.addfile(info, io.BytesIO(OUTCAR.encode()))
        link = tarfile.TarInfo("link/OUTCAR")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert [identity for identity, _, _ in shown([path])] == ["hostile/etc", "hostile/abs"]


def test_archives_inside_archives_are_named(tree, tmp_path):
    pack(tree, tree / "inner.tar.gz", "w:gz")
    found = list(discover([pack(tree, tmp_path / "outer.zip", "zip")]))
    assert [entry.problem for entry in found if isinstance(entry, Failure)] == [
        "is an archive inside an archive; unpack the outer one"
    ]
    assert len([entry for entry in found if isinstance(entry, Run)]) == 2


def test_files_of_a_folder_may_lie_apart_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a/OUTCAR", OUTCAR)
        archive.writestr("b/OUTCAR", OUTCAR)
        archive.writestr("a/vasprun.xml", XML)
    assert [(identity, files) for identity, _, files in shown([tmp_path / "z.zip"])] == [
        ("z/b", ["OUTCAR"]),
        ("z/a", ["OUTCAR", "vasprun.xml"]),
    ]
