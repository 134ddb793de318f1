"""What names of ready-made tiles say of them."""

import pytest

from sarcoscope.cohort.tile_names import Ids, TileName, check_folders, slide_of_its_own, tile_names
from sarcoscope.core.errors import InputError

KATHER = "01_TUMOR/1A11_CRC-Prim-HE-07_022.tif_Row_601_Col_151.tif"


def test_without_ids_a_tile_is_known_by_its_class_only() -> None:
    assert tile_names(["ADI/sub/x.png"], Ids()) == [TileName(file="ADI/sub/x.png", label="ADI")]


@pytest.mark.parametrize(
    ("expression", "slide", "patient"),
    [
        (r"(CRC-Prim-HE-\d+)", "CRC-Prim-HE-07", None),
        (r"CRC-Prim-HE-\d+", "CRC-Prim-HE-07", None),
        (r"(?P<slide>CRC-Prim-HE-\d+)", "CRC-Prim-HE-07", None),
        (r"(?P<patient>CRC-Prim)-HE-(?P<slide>\d+)", "07", "CRC-Prim"),
        (r"^([^_]+)_", "1A11", None),
    ],
)
def test_slides_by_an_expression(expression: str, slide: str, patient: str | None) -> None:
    (found,) = tile_names([KATHER], Ids(slide_regex=expression))
    assert (found.slide, found.patient) == (slide, patient)


def test_patients_by_an_expression_of_their_own() -> None:
    (found,) = tile_names([KATHER], Ids(slide_regex=r"CRC-Prim-HE-\d+", patient_regex=r"HE-(\d+)", batch="b"))
    assert (found.slide, found.patient, found.batch) == ("CRC-Prim-HE-07", "07", "b")


def test_our_own_pictures_need_no_expression() -> None:
    file = "WDLPS/WDLPS__slide-7__r3_c14__x7168_y-1536__0.5um.png"
    assert tile_names([file], Ids()) == [
        TileName(file=file, label="WDLPS", slide="slide-7", row=3, column=14, left_l0=7168, top_l0=-1536, mpp=0.5)
    ]
    with pytest.raises(InputError, match="1 of 2 files are not named as pictures of sarcoscope tile"):
        tile_names([file, "WDLPS/other.png"], Ids())
    assert [one.slide for one in tile_names([file, "W/other.png"], Ids(slide_regex=r"(slide-7|other)"))] == [
        "slide-7",
        "other",
    ]


def test_a_table_goes_first_by_path_or_by_bare_name() -> None:
    table = {"A/1.png": {"slide": "s1", "patient": "p1", "batch": ""}, "2.png": {"slide": "s2", "patient": ""}}
    found = tile_names(["A/1.png", "A/2.png"], Ids(table=table, batch="all"))
    assert [(one.slide, one.patient, one.batch) for one in found] == [("s1", "p1", "all"), ("s2", None, "all")]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (Ids(slide_regex="(nix)"), r"2 of 2 files get no id, e.g. A/1.png, A/2.png"),
        (Ids(table={"1.png": {"slide": "s"}}), "1 of 2 files get no id, e.g. A/2.png"),
        (Ids(patient_regex="^1"), "1 of 2 files get no id"),
        (
            Ids(table={"1.png": {"slide": "", "patient": ""}, "2.png": {"slide": "s"}}),
            "1 of 2 files get no id, e.g. A/1",
        ),
        (Ids(slide_regex="("), "--slide-regex '\\(' is no regular expression"),
        (Ids(patient_regex="["), "--patient-regex"),
    ],
)
def test_files_that_get_no_id_are_an_error(ids: Ids, words: str) -> None:
    with pytest.raises(InputError, match=words):
        tile_names(["A/1.png", "A/2.png"], ids)


def test_folders_of_parts_or_scales_are_no_classes() -> None:
    check_folders(["train", "ADI"])
    with pytest.raises(InputError, match="folders test, train are parts of a split"):
        check_folders(["train", "Test"])
    with pytest.raises(InputError, match="are scales, not classes"):
        check_folders(["0.5um", "1um"])


def test_a_tile_that_is_a_slide_of_its_own_goes_by_its_path() -> None:
    assert slide_of_its_own("A/b/c.png") == "A_b_c.png"
    long = [slide_of_its_own("A/" + "x" * 200 + end) for end in ("1.png", "2.png")]
    assert long[0] != long[1]
    assert max(map(len, long)) < 120


def test_a_bare_name_of_two_files_is_refused() -> None:
    with pytest.raises(InputError, match=r"0\.png of the table is the name of 2 files; give paths"):
        tile_names(["A/0.png", "B/0.png"], Ids(table={"0.png": {"slide": "s"}}))
