import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voigt.screening.report.figures import Plane, distribution_figure, elements_figure, pareto_figure, scale_of
from voigt.screening.report.labels import place_labels, pretty

BLUE = (0x00, 0x72, 0xB2)


def pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].reshape(-1, 3)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def plane(count: int, front: list[int], matched: np.ndarray | None = None) -> Plane:
    random = np.random.default_rng(1)
    mask = np.isin(np.arange(count), front)
    return Plane(x=random.uniform(0, 1, count), y=random.uniform(0, 1, count), labels=("x (eV)", "y"),
                 maximize=(True, True), front=mask, doubtful=np.zeros(count, dtype=bool),
                 formulas=[f"X{k}O2" for k in range(count)], matched=matched)  # fmt: skip


def test_every_element_is_named_once_in_each_half():
    counts = np.zeros(119)
    counts[[8, 26]] = 4200, 3
    trusted = np.zeros(119)
    trusted[8] = 4199
    refused = np.zeros(119)
    refused[26] = 2
    written = texts(elements_figure(counts, trusted, refused))
    assert written.count("O") == written.count("Fe") == written.count("Og") == 2
    assert {"4.2k", ">99", "3", "0 −2"} <= set(written)  # 4,199 of 4,200 are not all
    assert not {"100", "100.0"} & set(written)


def test_no_element_at_all_can_be_drawn():
    assert len(pixels(elements_figure(np.zeros(119), np.zeros(119), np.zeros(119)))) > 0


def test_names_hide_neither_each_other_nor_markers():
    figure = Figure(figsize=(5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    random = np.random.default_rng(0)
    points = np.concatenate([random.uniform(0, 1, (20, 2)), random.normal(0.5, 0.01, (20, 2))])
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.scatter(*points.T)
    named = place_labels(axis, points, range(40), [pretty(f"Ba{k}TiO3") for k in range(40)], range(40))
    assert 10 < len(named) < 40  # most of the heap in the middle has no room
    assert len(axis.texts) == len(named)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axis.texts]
    markers = axis.transData.transform(points)
    inside = axis.get_window_extent()
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:k])
        assert not any(box.contains(x, y) for x, y in markers)
        assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
        assert inside.y0 <= box.y0 <= box.y1 <= inside.y1


@pytest.mark.parametrize(("formula", "expected"), [("Ba2SmTaO6", "Ba$_{2}$SmTaO$_{6}$"), ("NaCl", "NaCl"),
                                                   ("Al2O12", "Al$_{2}$O$_{12}$")])  # fmt: skip
def test_counts_are_subscripts(formula, expected):
    assert pretty(formula) == expected


def test_front_and_matching_crystals_are_drawn():
    matched = np.arange(500) < 200
    figure = pareto_figure(plane(500, [3, 70, 199], matched))
    assert {"X$_{3}$O$_{2}$", "X$_{70}$O$_{2}$", "X$_{199}$O$_{2}$"} == set(texts(figure))
    axis = figure.axes[0]
    assert axis.get_xlabel() == "x (eV)"
    labels = axis.get_legend_handles_labels()[1]
    assert labels == ["fulfill the condition (200)", "Pareto front (3)"]


def test_an_empty_front_leaves_the_density():
    figure = pareto_figure(plane(500, [], np.zeros(500, dtype=bool)))
    assert texts(figure) == []
    assert len(set(map(bytes, pixels(figure)[::7]))) > 20


def test_equal_crystals_share_one_name():
    equal = plane(40, [5, 6])
    x, y = equal.x.copy(), equal.y.copy()
    x[6], y[6] = x[5], y[5]
    figure = pareto_figure(Plane(x, y, equal.labels, equal.maximize, equal.front, equal.doubtful, equal.formulas))
    assert len(texts(figure)) == 1


@pytest.mark.parametrize(("maximize", "expected"), [((True, True), 1.0), ((False, False), 2.0)])
def test_the_staircase_borders_what_was_attained(maximize, expected):
    # Two points (1, 2) and (2, 1). For x = 1.5 the best y is 1 where more is better: only x = 2 is large enough.
    front = np.array([True, True])
    drawn = Plane(np.array([1.0, 2.0]), np.array([2.0, 1.0]), ("x", "y"), maximize, front, ~front, ["A", "B"])
    (line,) = [line for line in pareto_figure(drawn).axes[0].lines if len(line.get_xdata()) == 2]
    path = line.get_path().vertices
    steps = {"steps-pre": 1, "steps-post": 0}[line.get_drawstyle()]
    assert path[steps, 1] == expected


def test_without_values_a_figure_says_so():
    nothing = np.full(4, np.nan)
    no = np.zeros(4, dtype=bool)
    figure = pareto_figure(Plane(nothing, np.ones(4), ("x", "y"), (True, True), no, no, ["A"] * 4))
    assert texts(figure) == ["no crystal has both"]
    assert "no values" in texts(distribution_figure({"gap": nothing}, {"gap": "gap (eV)"}))
    assert len(pixels(distribution_figure({}, {}))) > 0


def test_only_what_fulfills_a_condition_is_blue():
    values = {"gap": np.random.default_rng(0).uniform(0, 5, 1000)}
    figures = [distribution_figure(values, {"gap": "gap (eV)"}, mask) for mask in (None, values["gap"] > 2)]
    blue = [(pixels(figure) == BLUE).all(axis=1).sum() for figure in figures]
    assert blue[0] == 0
    assert blue[1] > 200
    # Bars count crystals: all of them, and those above 2.
    for figure, expected in zip(figures, ([1000], [1000, (values["gap"] > 2).sum()]), strict=True):
        counts = [sum(bar.get_height() for bar in bars) for bars in figure.axes[0].containers]
        assert counts == expected


def test_axes_are_logarithmic_for_heavy_tails_of_positive_values():
    random = np.random.default_rng(0)
    assert scale_of(random.lognormal(2, 1.2, 5000)) == "log"
    assert scale_of(random.uniform(1, 5, 5000)) == "linear"
    assert scale_of(np.append(random.lognormal(2, 1.2, 5000), 0.0)) == "linear"
    assert scale_of(np.full(3, np.nan)) == "linear"
    assert scale_of(np.ones(5)) == "linear"
