"""Who trains, validates and tests: the small samples of the page, by hand, and what always holds, as properties."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.cohort.splits import SINGLE, SplitConfig, group_key, natural, other_batches, split_cohort
from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.errors import InputError


def slide(name: str, label: str | None = "A", patient: str | None = None, batch: str | None = None) -> CohortSlide:
    return CohortSlide(slide=name, path=Path(name), label=label, patient=patient, batch=batch)


def several(count: int, label: str = "A", batch: str | None = None) -> list[CohortSlide]:
    return [slide(f"{label}{batch or ''}{number}", label, batch=batch) for number in range(count)]


def parts_of(slides: Sequence[CohortSlide], config: SplitConfig) -> Mapping[str, Part]:
    return split_cohort(slides, config).repetitions[SINGLE]


def counted(parts: Mapping[str, Part]) -> dict[str, int]:
    return dict(Counter(str(part) for part in parts.values()))


@pytest.mark.parametrize(
    ("n", "counts"),
    [
        (1, {"train": 1}),
        (2, {"train": 1, "validation": 1}),
        (3, {"train": 1, "validation": 1, "test": 1}),
        (4, {"train": 2, "validation": 1, "test": 1}),
        (10, {"train": 7, "validation": 2, "test": 1}),
    ],
)
def test_a_class_of_few_slides(n: int, counts: dict[str, int]) -> None:
    others = several(20, "B")
    parts = parts_of([*several(n), *others], SplitConfig())
    assert counted({name: part for name, part in parts.items() if name.startswith("A")}) == counts


@pytest.mark.parametrize(
    ("n", "taken"), [(1, 0), (3, 0), (4, 1), (5, 2), (6, 2), (10, 3), (115, 35)]
)  # 0.3 n, half up, but 3 stay
def test_a_share_for_test_set_1_leaves_three(n: int, taken: int) -> None:
    parts = parts_of(several(n), SplitConfig(test1=0.3))
    assert counted(parts).get("test1", 0) == taken


def test_counts_for_test_set_1_are_of_slides_and_may_leave_fewer_with_a_warning() -> None:
    slides = [*several(5, "A"), *several(5, "B")]
    dealt = split_cohort(slides, SplitConfig(test1={"A": 3}))
    parts = dealt.repetitions[SINGLE]
    assert counted({name: part for name, part in parts.items() if name.startswith("A")}) == {
        "test1": 3,
        "train": 1,
        "validation": 1,
    }
    assert dealt.warnings == ("test set 1 leaves 2 of A to train, validate and test on",)
    assert Part.TEST1 not in {part for name, part in parts.items() if name.startswith("B")}


def test_counts_are_met_where_whole_patients_can_meet_them() -> None:
    slides = [slide(f"s{number}", "A", patient) for number, patient in enumerate("PPQQQRR")]  # 2, 3 and 2 slides
    for seed in range(12):
        dealt = split_cohort(slides, SplitConfig(test1={"A": 3}, seed=seed))
        assert counted(dealt.repetitions[SINGLE])["test1"] == 3


def test_counts_leave_patients_whole() -> None:
    slides = [slide(f"s{number}", "A", f"P{number // 2}") for number in range(8)]  # four patients of two slides
    dealt = split_cohort(slides, SplitConfig(test1={"A": 3}))
    assert counted(dealt.repetitions[SINGLE])["test1"] == 2
    assert "has 2 of the 3 slides of A asked for" in dealt.warnings[0]


def test_the_paper_s_split() -> None:
    batch1 = {"DDLPS": 45, "LMS": 16, "MPNST": 3, "UPS": 20, "WDLPS": 31}
    batch2 = {"DDLPS": 12, "LMS": 7, "UPS": 8, "WDLPS": 15}
    slides = [
        one
        for batch, classes in (("batch1", batch1), ("batch2", batch2))
        for label, count in classes.items()
        for one in several(count, label, batch)
    ]
    assert len(slides) == 157
    config = SplitConfig(
        test1={"DDLPS": 27, "LMS": 6, "UPS": 8, "WDLPS": 16}, test2=other_batches(slides), pooled=("MPNST",)
    )
    dealt = split_cohort(slides, config)
    assert counted(dealt.repetitions[SINGLE]) == {
        "test1": 57,
        "test2": 42,
        "pooled": 3,
        "train": 12 + 7 + 8 + 11,  # of 18, 10, 12 and 15: 12.6, 7, 8.4, 10.5
        "validation": 3 + 2 + 2 + 2,
        "test": 3 + 1 + 2 + 2,
    }
    assert dealt.warnings == ()


def test_a_patient_of_batch_2_never_trains() -> None:
    slides = [*several(9, batch="1"), slide("early", "A", "P", "1"), slide("late", "A", "P", "2")]
    dealt = split_cohort(slides, SplitConfig(test2=("2",)))
    parts = dealt.repetitions[SINGLE]
    assert (parts["early"], parts["late"]) == (Part.TEST1, Part.TEST2)
    assert dealt.warnings == ("in test set 1 because their patient has slides in test set 2: early",)


def test_a_pooled_patient_is_pooled_whole_unless_batch_2_has_it() -> None:
    slides = [
        *several(5),
        slide("m1", "M", "P"),
        slide("a1", "A", "P"),
        slide("m2", "M", "Q", "1"),
        slide("m3", "M", "Q", "2"),
    ]
    dealt = split_cohort(slides, SplitConfig(pooled=("M",), test2=("2",)))
    parts = dealt.repetitions[SINGLE]
    assert {name: str(parts[name]) for name in ("m1", "a1", "m2", "m3")} == {
        "m1": "pooled",
        "a1": "pooled",
        "m2": "test1",
        "m3": "test2",
    }
    assert "pooled along" in dealt.warnings[0]


def test_slides_of_several_labels_count_by_the_rarest() -> None:
    labels = {f"s{number}": {"common", "rare"} if number < 3 else {"common"} for number in range(23)}
    slides = [slide(name, None) for name in labels]
    parts = split_cohort(slides, SplitConfig(), labels).repetitions[SINGLE]
    assert Counter(parts[f"s{number}"] for number in range(3)) == {Part.TRAIN: 1, Part.VALIDATION: 1, Part.TEST: 1}


def test_each_fold_tests_once_and_the_next_validates() -> None:
    slides = [*several(7, "A"), *several(3, "B"), slide("x", "A", "P"), slide("y", "A", "P")]
    found = split_cohort(slides, SplitConfig(folds=5)).repetitions
    assert list(found) == ["fold1", "fold2", "fold3", "fold4", "fold5"]
    for one in slides:
        by_fold = [found[name][one.slide] for name in found]
        assert Counter(by_fold) == {Part.TEST: 1, Part.VALIDATION: 1, Part.TRAIN: 3}
        assert by_fold[by_fold.index(Part.TEST) - 1] is Part.VALIDATION  # fold i validates where fold i + 1 tests it
    assert all(found[name]["x"] == found[name]["y"] for name in found)
    sizes = [counted(parts)["test"] for parts in found.values()]
    assert sorted(sizes) in ([2, 2, 2, 3, 3], [2, 2, 2, 2, 4])  # 11 groups, one of two slides


def test_each_batch_is_left_out_once() -> None:
    slides = [
        *several(6, batch="b1"),
        *several(6, batch="b2"),
        *several(6, batch="b10"),
        slide("x", "A", "P", "b1"),
        slide("y", "A", "P", "b2"),
        slide("nowhere"),
        slide("pooled", "M", batch="b2"),
    ]
    dealt = split_cohort(slides, SplitConfig(leave_out_batch=True, pooled=("M",)))
    assert list(dealt.repetitions) == ["without-b1", "without-b2", "without-b10"]
    for name, parts in dealt.repetitions.items():
        batch = name.removeprefix("without-")
        tested = {one for one, part in parts.items() if part is Part.TEST}
        assert {one.slide for one in slides if one.batch == batch} <= tested
        assert parts["nowhere"] in {Part.TRAIN, Part.VALIDATION}
        assert parts["x"] is parts["y"]
    assert [str(parts["pooled"]) for parts in dealt.repetitions.values()] == ["pooled", "test", "pooled"]
    assert "tested with batch b1 because their patient is in it: y" in dealt.warnings
    assert "in no batch, so never left out: nowhere" in dealt.warnings


def test_batches_come_in_natural_order() -> None:
    assert sorted(["b10", "b2", "b", "10", "9", "B1"], key=natural) == ["9", "10", "B1", "b", "b2", "b10"]
    assert other_batches(several(1, batch="b10") + several(1, batch="b9")) == ("b10",)
    assert other_batches(several(1, batch="1")) == ()
    assert other_batches([one for batch in "123" for one in several(1, batch=batch)]) == ()


@pytest.mark.parametrize(
    ("slides", "config", "words"),
    [
        ([], SplitConfig(), "no slides to split"),
        ([slide("a", None)], SplitConfig(), "'a' has no label"),
        ([slide("a"), slide("a")], SplitConfig(), "two slides are called 'a'"),
        (
            several(3),
            SplitConfig(pooled=("X",)),
            "no slide is of class 'X'; leave it out of the pooled classes; the classes are A",
        ),
        (several(3), SplitConfig(test1={"X": 1}), "no slide is of class 'X'"),
        (several(3, batch="1"), SplitConfig(test2=("9",)), "no slide is of batch '9'; the batches are: 1"),
        (several(3, batch="1"), SplitConfig(test2=("1",)), "nothing is left to train on"),
        (several(3), SplitConfig(folds=5), "3 patients or slides for 5 folds"),
        (several(3), SplitConfig(leave_out_batch=True), "0 batches, one of which to leave out"),
    ],
)
def test_what_cannot_be_split_is_said(slides: list[CohortSlide], config: SplitConfig, words: str) -> None:
    with pytest.raises(InputError, match=words):
        split_cohort(slides, config)


@pytest.mark.parametrize(
    "wrong",
    [{"test1": 1.0}, {"test1": -0.1}, {"test1": {"A": -1}}, {"folds": 2}, {"folds": 3, "leave_out_batch": True}],
)
def test_a_config_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        SplitConfig(**wrong)  # type: ignore[arg-type]


@st.composite
def cohorts(draw: st.DrawFn) -> list[CohortSlide]:
    count = draw(st.integers(1, 40))
    return [
        slide(
            f"s{number}",
            draw(st.sampled_from("ABCM")),
            draw(st.none() | st.sampled_from([f"P{one}" for one in range(12)])),
            draw(st.none() | st.sampled_from(["1", "2"])),
        )
        for number in range(count)
    ]


configs = st.builds(
    SplitConfig,
    seed=st.integers(0, 5),
    test1=st.floats(0, 0.9),
    ratios=st.sampled_from([(0.7, 0.15, 0.15), (0.8, 0.2, 0.0), (0.34, 0.33, 0.33)]),
)


def with_what_is_there(slides: list[CohortSlide], config: SplitConfig) -> SplitConfig:
    """The config with batch 2 and the pooled class, as far as the cohort has them."""
    batches, labels = {one.batch for one in slides}, {one.label for one in slides}
    return SplitConfig(
        seed=config.seed,
        test1=config.test1,
        ratios=config.ratios,
        test2=("2",) if "2" in batches else (),
        pooled=("M",) if "M" in labels else (),
    )


@given(cohorts(), configs, st.permutations(range(40)))
def test_what_always_holds(slides: list[CohortSlide], config: SplitConfig, order: list[int]) -> None:
    config = with_what_is_there(slides, config)
    try:
        dealt = split_cohort(slides, config)
    except InputError as error:
        assert "nothing is left to train on" in str(error)  # noqa: PT017
        return
    parts = dealt.repetitions[SINGLE]
    assert set(parts) == {one.slide for one in slides}  # every slide in exactly one part
    shuffled = [slides[place] for place in order if place < len(slides)]
    assert split_cohort(shuffled, config) == dealt  # whatever the order
    groups: dict[tuple[str, str], set[Part]] = defaultdict(set)
    for one in slides:
        groups[group_key(one)].add(parts[one.slide])
        assert (parts[one.slide] is Part.TEST2) == (one.batch in config.test2)
    for found in groups.values():
        assert len(found) == 1 or found == {Part.TEST1, Part.TEST2}  # no patient in two parts


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(0, 3))
def test_each_class_keeps_its_ratios(counts: list[int], seed: int) -> None:
    slides = [one for label, count in zip("ABCD", counts, strict=False) for one in several(count, label)]
    parts = parts_of(slides, SplitConfig(seed=seed))
    for label, count in zip("ABCD", counts, strict=False):
        found = Counter(part for name, part in parts.items() if name.startswith(label))
        assert abs(found[Part.TRAIN] - 0.7 * count) <= 1.3  # 4 of a class: 2, where 2.8 would be
        for part in (Part.VALIDATION, Part.TEST):
            assert abs(found[part] - 0.15 * count) < 1


def test_another_seed_is_another_split_and_the_same_seed_the_same() -> None:
    slides = several(30)
    splits = [tuple(sorted(parts_of(slides, SplitConfig(seed=seed)).items())) for seed in (0, 0, 1, 2)]
    assert splits[0] == splits[1]
    assert len(set(splits)) == 3


def test_one_slide_more_moves_few_others() -> None:
    slides = several(60)
    before = parts_of(slides, SplitConfig())
    after = parts_of([*slides, slide("new")], SplitConfig())
    assert sum(after[name] is not part for name, part in before.items()) <= 3
