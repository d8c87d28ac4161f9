from voigt.notes import MEANING
from voigt.screening.report.survey import NOT_RECORDED, Reasons


def test_kinds_count_whatever_their_sentences_and_sentences_count_where_no_kind_is_recorded():
    reasons = Reasons()
    for kind, sentence in (("memory", "b"), (None, "x"), ("memory", "a"), ("crashed", "c"), (None, "y"), (None, "y")):
        reasons.add(kind, sentence)
    rows = [(reason.kind, reason.meaning, count, example) for reason, count, example in reasons.common(9)]
    assert rows == [
        ("memory", MEANING["memory"], 2, "b"),
        (NOT_RECORDED, "not recorded", 2, "y"),
        (NOT_RECORDED, "not recorded", 1, "x"),
        ("crashed", MEANING["crashed"], 1, "c"),
    ]
    assert reasons.total == 6
    assert reasons.common(1) == reasons.common(9)[:1]


def test_a_kind_of_a_later_version_stands_for_itself():
    reasons = Reasons()
    reasons.add("made of cheese", "the crystal is made of cheese")
    assert reasons.common(1)[0][0].meaning == "made of cheese"
