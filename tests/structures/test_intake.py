"""Every structure of an input gets its place, its checks and an id of its own."""

from __future__ import annotations

import pytest
from ase import Atoms
from tests.structures.inputs import is_sound, rocksalt, trouble

from voigt.notes import Failure
from voigt.structures import InputStructure
from voigt.structures.intake import Entry, Unread, check, placed, settled
from voigt.structures.readers.failures import unreadable


def sound(identity: str = "") -> InputStructure:
    return InputStructure("a.tar", 0, identity, rocksalt())


def test_places_and_default_ids() -> None:
    assert list(placed([], "a.cif", "a")) == []
    ((structure, default),) = placed([sound()], "a.cif", "a")
    assert (structure.source, structure.index, structure.id, default) == ("a.cif", 0, "", "a")
    several = list(placed([sound(), unreadable("broken", "mp-1"), sound()], "a.cif", "a"))
    assert [(entry.source, entry.index) for entry, _ in several] == [("a.cif", k) for k in range(3)]
    assert [(entry.id, default) for entry, default in several] == [("", "a:0"), ("mp-1", "a:1"), ("", "a:2")]


def test_many_equal_names_stay_different_and_quick() -> None:
    """Twenty thousand members of one name, as an archive that was appended to may have."""
    entry: Entry = (sound(), "salt")
    structures = settled([entry, (sound("salt-3"), ""), *[entry] * 3])
    assert [structure.id for structure in structures] == ["salt", "salt-3", "salt-2", "salt-4", "salt-5"]
    empty: Entry = (unreadable("broken"), "salt")
    assert len({structure.id for structure in settled([empty] * 20_000)}) == 20_000


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (True, " already used by frame 0 of a.tar; give each frame"),
        (False, ", which an earlier crystal has; give each crystal"),
    ],
)
def test_duplicates_of_the_files_are_failures(places: bool, words: str) -> None:
    entries: list[Entry] = [(sound("x"), ""), (sound("x"), ""), (unreadable("broken", "x"), ""), (sound(), "x")]
    first, second, third, fourth = settled(entries, places)
    assert (first.id, fourth.id) == ("x", "x-2")
    assert is_sound(first)
    assert is_sound(fourth)
    assert trouble(second) == f"duplicate id 'x'{words} its own id"
    assert trouble(third) == f"broken. duplicate id 'x'{words} its own id"
    assert isinstance(second, Failure)
    assert isinstance(third, Failure)
    assert (second.kind, third.kind) == ("duplicate_id", "unreadable")


def test_known_structures_are_left_out_and_keep_their_ids() -> None:
    """The others get the same ids and the same problems as if all were given; what is known is not even read."""

    def never() -> InputStructure:
        raise AssertionError("read")

    entries: list[Entry] = [
        (Unread("x", lambda: sound("x")), ""),
        (sound(), "t:1"),
        (sound("t:1"), ""),  # an id that was made up before: it gets another
        (sound("x"), ""),
        (unreadable("broken", "y"), ""),
        (sound(), "y"),
        (sound("z"), ""),
    ]
    everything = list(settled(entries, places=False))
    assert [entry.id for entry in everything] == ["x", "t:1", "t:1-2", "x", "y", "y-2", "z"]
    for known in ({"x"}, {"x", "t:1"}, {"t:1", "y", "z"}, {"t:1-2", "y-2"}):
        left = list(settled(entries, places=False, known=known.__contains__))
        first = {"x": 0, "t:1": 1, "z": 6}  # what was renamed is not known by the id that it had
        out = {place for name, place in first.items() if name in known}
        kept = [entry for place, entry in enumerate(everything) if place not in out]
        assert [(entry.id, isinstance(entry, Failure)) for entry in left] == [
            (entry.id, isinstance(entry, Failure)) for entry in kept
        ]
        assert [trouble(entry) for entry in left if isinstance(entry, Failure)] == [
            trouble(entry) for entry in kept if isinstance(entry, Failure)
        ]
    assert list(settled([(Unread("x", never), "")], known={"x"}.__contains__)) == []


def test_structures_that_upset_the_checks_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    def upset(_: Atoms) -> list[str]:
        raise ZeroDivisionError("division by zero")

    assert is_sound(check(sound()))
    monkeypatch.setattr("voigt.structures.intake.problems", upset)
    assert "cannot be read as a crystal: a number in it is zero" in trouble(check(sound()))
