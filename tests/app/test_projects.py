"""Projects of strangers: names are compared and never used, what unfolds is counted."""

from __future__ import annotations

import io
import lzma
import stat
import zipfile
from pathlib import Path

import pytest

from voigt.app.job_schema import PhononsQuery
from voigt.app.job_work import JobTask, run_job
from voigt.app.problems import RequestError
from voigt.app.projects import holds_project, unpack_project
from voigt.app.structures import Upload
from voigt.errors import InputError


def archive(*members: tuple[str, bytes]) -> Upload:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, content in members:
            stream.writestr(name, content)
    return Upload("a.zip", target.getvalue())


def unpacked(upload: Upload, folder: Path) -> dict[str, bytes]:
    home = unpack_project(upload, folder / "inner" / "project")
    assert [path.name for path in folder.iterdir()] == ["inner"]
    return {path.name: path.read_bytes() for path in home.iterdir()}


def refused(upload: Upload, folder: Path) -> tuple[int, str]:
    with pytest.raises(RequestError) as error:
        unpack_project(upload, folder / "project")
    return error.value.status, error.value.problem.text


def test_only_files_of_a_project_are_taken_and_from_one_folder(tmp_path: Path) -> None:
    upload = archive(
        ("deep/er/POSCAR", b"of another"),
        ("my project/POSCAR-unitcell", b"cell"),
        ("my project/FORCE_SETS.xz", b"forces"),
        ("my project/vasprun.xml", b"long"),
        ("my project/run.sh", b"rm"),
        ("__MACOSX/POSCAR", b"of a Mac"),
    )
    assert unpacked(upload, tmp_path) == {"POSCAR-unitcell": b"cell", "FORCE_SETS.xz": b"forces"}


@pytest.mark.parametrize("inner", ["../../", "/tmp/", "..\\..\\", "C:\\", "./a/../../"])
def test_names_that_lead_elsewhere_lead_nowhere(tmp_path: Path, inner: str) -> None:
    assert unpacked(archive((f"{inner}phonopy.yaml", b"x")), tmp_path) == {"phonopy.yaml": b"x"}


def test_a_link_is_a_file_with_a_path_in_it(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("BORN")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as stream:
        stream.writestr("POSCAR", b"cell")
        stream.writestr(info, "/etc/passwd")
    assert unpacked(Upload("a.zip", target.getvalue()), tmp_path)["BORN"] == b"/etc/passwd"


def test_a_bomb_does_not_go_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voigt.app.projects.MOST_UNPACKED", 1_000_000)
    big = bytes(600_000)
    status, text = refused(archive(("POSCAR", big), ("FORCE_SETS", big)), tmp_path / "a")
    assert (status, text) == (413, "a.zip unfolds to more than 1 MB; leave out what is not needed")
    written = sum(path.stat().st_size for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert written <= 1_000_000
    many = archive(*((f"{k}", b"") for k in range(1001)), ("POSCAR", b""))
    assert refused(many, tmp_path / "b")[0] == 413
    # A header that promises less than there is.
    lying = bytearray(archive(("POSCAR", big)).content)
    place = lying.rfind(b"PK\1\2")
    lying[place + 24 : place + 28] = (10).to_bytes(4, "little")
    status, text = refused(Upload("a.zip", bytes(lying)), tmp_path / "c")
    assert (status, text.split(":")[0]) == (422, "a.zip")


def test_a_bomb_inside_a_packed_file_is_refused_by_its_reader(tmp_path: Path) -> None:
    upload = archive(("phonopy.yaml.xz", lzma.compress(bytes(40_000_000))), ("FORCE_SETS", b""))
    with pytest.raises(InputError, match="unfolds to more than"):
        run_job(JobTask(upload, PhononsQuery()), tmp_path, lambda: None)


def test_what_is_no_project_is_refused_with_a_sentence(tmp_path: Path) -> None:
    assert "a.zip holds no phonopy project" in refused(archive(("README", b"x")), tmp_path / "a")[1]
    for k, content in enumerate((b"PK\3\4", b"PK\3\4" + bytes(100), archive(("POSCAR", b"x")).content[:-30])):
        status, text = refused(Upload("a.zip", content), tmp_path / f"{k}")
        assert status == 422
        assert text.startswith("a.zip: cannot be read as a zip archive")
    secret = bytearray(archive(("POSCAR", b"x")).content)
    secret[6] |= 1
    secret[secret.rfind(b"PK\1\2") + 8] |= 1
    with pytest.raises(InputError, match=r"a\.zip: POSCAR is encrypted"):
        unpack_project(Upload("a.zip", bytes(secret)), tmp_path / "z")


def test_one_yaml_file_is_a_project_too(tmp_path: Path) -> None:
    for name, kept in (
        ("My Params.YAML", "phonopy_params.yaml"),
        ("../x.yml.xz", "phonopy_params.yaml.xz"),
        ("a.yaml.lzma", "phonopy_params.yaml.lzma"),
    ):
        upload = Upload(name, b"x")
        assert holds_project(upload)
        path = unpack_project(upload, tmp_path / kept / "project")
        assert path.name == kept
        assert path.parent.name == "project"
    assert not holds_project(Upload("a.cif", b"PK"))
