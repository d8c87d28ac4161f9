import pytest

from voigt.errors import InputError
from voigt.screening.query.criteria import Criteria, read_criteria


def test_a_record_gives_the_criteria_back():
    for criteria in (read_criteria("band_gap > 3", "eps_total", True), read_criteria(rank="eps_inf"), Criteria()):
        assert read_criteria(**criteria.record()) == criteria
    assert read_criteria("band_gap > 3").record() == {"where": "band_gap > 3", "rank": None, "ascending": False}


def test_properties_are_those_of_both_expressions():
    criteria = read_criteria("eps_total > 3 and num_atoms < 9", "bulk_modulus * eps_total")
    assert criteria.properties == ("elastic", "eps_total")
    assert [option for option, _ in criteria.by_option] == ["--where", "--rank"]
    assert criteria.given
    assert not Criteria(ascending=True).given


def test_messages_name_the_option():
    with pytest.raises(InputError, match=r"^--where: 'band_gap' is a number; write a condition"):
        read_criteria("band_gap")
    with pytest.raises(InputError, match=r"^--rank: 'band_gap > 3' is a condition; write a formula"):
        read_criteria(rank="band_gap > 3")
