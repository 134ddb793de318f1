"""The page's server, asked as a program would: who is let in, what is answered, what is on the disk afterwards."""

import http.client
import json
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sarcoscope.core.screening import Decision, Verdict
from sarcoscope.formats.screening import append_decisions
from tests.viewer.process import Page, screening
from tests.viewer.runs import lines, tile_row, write_slide_run, write_tiles


class Asking:
    """Requests to a running page, with its cookie unless told otherwise."""

    def __init__(self, page: Page) -> None:
        self.page = page
        status, _, headers = self.raw("GET", f"/?token={page.token}", cookie="")
        assert status == 303
        self.cookie = headers["set-cookie"].partition(";")[0]
        self.set_cookie = headers["set-cookie"]

    def raw(
        self, method: str, path: str, body: Any = None, *, cookie: str | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.page.port, timeout=60)
        sent = {"Cookie": self.cookie if cookie is None else cookie} | headers
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"} | sent)
        answer = connection.getresponse()
        content, told = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        return answer.status, content, told

    def get(self, path: str) -> Any:
        status, content, _ = self.raw("GET", path)
        assert status == 200, content
        return json.loads(content)

    def post(self, path: str, body: Any) -> Any:
        status, content, _ = self.raw("POST", path, body)
        assert status == 200, content
        return json.loads(content)

    def rgb(self, path: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        status, content, _ = self.raw("GET", path)
        assert status == 200, content
        return np.asarray(Image.open(BytesIO(content)).convert("RGB"), np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_slide_run(folder, "one", ["DDLL.", "WWUU."])
    write_tiles(folder, "gone", [tile_row("gone", 0, 0)], path=str(folder / "gone.svs"), size_l0=[128, 128])
    write_slide_run(folder, "two", ["LL", "UU"], label="LMS")
    (folder / "tiles" / "damaged.parquet").write_bytes(b"no parquet")
    return folder


@pytest.fixture(scope="module")
def ask(run: Path) -> Iterator[Asking]:
    with screening(run, "--reader", "anna") as page:
        yield Asking(page)


def test_only_who_has_the_token_gets_in(ask: Asking) -> None:
    for path in ("/", "/api/cohort", "/static/main.js", "/api/sheets?numbers=0", "/api/sheets/2/overview.jpg"):
        for cookie in ("", "sarcoscope-screen=x", ask.cookie[:-1], ask.cookie + "x", "=;;=,"):
            assert ask.raw("GET", path, cookie=cookie)[0] == 403, (path, cookie)
        assert ask.raw("GET", path)[0] == 200, path
    assert ask.raw("GET", "/?token=wrong", cookie="")[0] == 403
    assert ask.raw("GET", f"/api/cohort?token={ask.page.token}", cookie="")[0] == 403
    assert "httponly" in ask.set_cookie.lower()
    assert "samesite=strict" in ask.set_cookie.lower()


def test_the_browser_is_opened_with_a_token_that_lets_in_once(run: Path, tmp_path: Path) -> None:
    told, browser = tmp_path / "told", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$*" > "{told}.part" && mv "{told}.part" "{told}"\n', encoding="utf-8")
    browser.chmod(0o755)
    with screening(run, browser=browser) as page:
        ask = Asking(page)
        give_up = time.monotonic() + 60
        while not told.exists():
            assert time.monotonic() < give_up, "no browser was opened"
            time.sleep(0.02)
        handed = told.read_text(encoding="utf-8")
        assert handed.startswith(f"{page.origin}/?token=")
        assert page.token not in handed
        path = handed.removeprefix(page.origin)

        assert ask.raw("GET", f"/api/cohort{path[1:]}", cookie="")[0] == 403  # and it is not spent by any of these
        assert ask.raw("GET", path, cookie="", Host="evil.example")[0] == 421
        assert ask.raw("GET", path, cookie="", Origin="http://evil.example")[0] == 403
        status, _, headers = ask.raw("GET", path, cookie="")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"].partition(";")[0]
        status, _, headers = ask.raw("GET", path, cookie="")
        assert (status, "set-cookie" in headers) == (403, False)
        assert ask.raw("GET", "/api/cohort", cookie=cookie)[0] == 200
        assert ask.raw("GET", f"/?token={page.token}", cookie="")[0] == 303
        assert ask.raw("GET", "/?token=", cookie="")[0] == 403


def test_only_this_machine_by_its_own_name_and_no_other_sites_page(ask: Asking, run: Path) -> None:
    port = ask.page.port
    assert ask.raw("GET", "/api/cohort", Host=f"localhost:{port}")[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", ""):
        assert ask.raw("GET", "/api/cohort", Host=host)[0] in {400, 421}, host
    body = {"tiles": [[1, 0]], "verdict": "reject"}
    for origin in ("http://evil.example", f"http://localhost:{port + 1}", "null"):
        assert ask.raw("POST", "/api/decisions", body, Origin=origin)[0] == 403, origin
    assert lines(run) == []


def test_every_answer_forbids_what_the_page_does_not_need(ask: Asking) -> None:
    for path in ("/", "/api/cohort", "/nothing", "/api/sheets/9/overview.jpg"):
        for cookie in (None, ""):
            headers = ask.raw("GET", path, cookie=cookie)[2]
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src")
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "server" not in headers
    assert ask.raw("GET", "/api/cohort")[2]["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/..%2f..%2f..%2fetc/passwd",
        "/api/sheets/..%2f..%2fetc/overview.jpg",
        "/api/sheets/-1/overview.jpg",
        "/api/sheets/99/overview.jpg",
        "/api/sheets/2/tiles/99/small.jpg",
        "/api/sheets/2/tiles/-1/small.jpg",
        "/api/sheets/2/tiles/0/huge.jpg",
        "/api/sheets?numbers=-1",
        "/api/sheets?numbers=",
        "/api/sheets?numbers=x",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_address_leads_out_of_the_cohort(ask: Asking, path: str) -> None:
    status, content, _ = ask.raw("GET", path)
    assert status in {400, 404, 422}
    assert b"root:" not in content
    assert b"def create_app" not in content


def test_the_cohort_and_a_slide_as_they_are(ask: Asking) -> None:
    cohort = ask.get("/api/cohort")
    assert [slide["name"] for slide in cohort["sheets"]] == ["damaged", "gone", "one", "two"]
    assert "not a readable parquet file" in cohort["sheets"][0]["error"]
    assert cohort["sheets"][2] | {"error": None} == cohort["sheets"][2]
    assert (cohort["sheets"][2]["labels"], cohort["sheets"][2]["dropped"]) == ({"DDLPS": 8}, 2)
    assert cohort["colors"] == {"DDLPS": "#d55e00", "LMS": "#0072b2"}
    assert cohort["reader"] == "anna"
    (slide,) = ask.get("/api/sheets?numbers=2")
    assert (slide["name"], slide["size"], slide["error"]) == ("one", [640, 256], None)
    assert slide["columns"]["tile"][:2] == ["r0_c0_0.5um", "r0_c1_0.5um"]
    assert slide["columns"]["left_l0"] == [0, 128, 256, 384, 512] * 2
    assert slide["columns"]["dropped"] == [None, None, None, None, "blank"] * 2
    assert slide["columns"]["nuclei"] == [1000, 1001, 1002, 1003, 1004, 1100, 1101, 1102, 1103, 1104]
    assert "no predictions were given" in slide["noDisagreement"]


def test_slides_that_cannot_be_read_say_so_and_the_others_go_on(ask: Asking) -> None:
    damaged, gone, one, _ = (ask.get(f"/api/sheets?numbers={number}")[0] for number in range(4))
    assert "not a readable parquet file" in damaged["error"]
    assert "gone.svs: there is no such file" in gone["error"]
    assert one["error"] is None
    together = ask.get("/api/sheets?numbers=0,1,2,3")
    assert [slide["columns"] is None for slide in together] == [True, False, False, False]
    status, content, _ = ask.raw("GET", "/api/sheets/1/tiles/0/small.jpg")
    assert status == 422
    assert "there is no such file" in json.loads(content)["error"]


def test_pictures_are_of_the_right_place_and_are_kept_by_the_browser(ask: Asking) -> None:
    small = [ask.rgb(f"/api/sheets/2/tiles/{row}/small.jpg") for row in range(10)]
    large = [ask.rgb(f"/api/sheets/2/tiles/{row}/large.jpg") for row in range(10)]
    assert {one.shape for one in small} == {one.shape for one in large} == {(128, 128, 3)}  # never larger than it is
    means = [one.reshape(-1, 3).mean(axis=0) for one in small]
    glass = (243, 242, 244)
    for row, mean in enumerate(means):
        assert (np.abs(mean - glass).max() < 3) == (row in {4, 9})
    assert np.abs(means[0] - means[1]).max() < 3 < np.abs(means[1] - means[2]).max()
    overview = ask.rgb("/api/sheets/2/overview.jpg")
    assert overview.shape == (256, 640, 3)
    assert np.abs(overview[:100, :100].mean(axis=(0, 1)) - means[0]).max() < 4
    assert "max-age" in ask.raw("GET", "/api/sheets/2/tiles/0/small.jpg?x")[2]["cache-control"]


def test_a_decision_is_on_the_disk_before_it_is_answered(run: Path, ask: Asking) -> None:
    before = len(lines(run))
    answer = ask.post("/api/decisions", {"tiles": [[2, 1], [3, 0]], "verdict": "reject", "reason": "blood"})
    assert answer["changed"] == [[2, 1, "reject"], [3, 0, "reject"]]
    first, second = lines(run)[before:]
    assert first.startswith("one,r0_c1_0.5um,0.5,128,0,DDLPS,reject,anna,20")
    assert first.endswith("+00:00,blood")
    assert second.startswith("two,r0_c0_0.5um,0.5,0,0,LMS,reject,anna,20")
    assert ask.post("/api/decisions", {"tiles": [[2, 1]], "verdict": "reject"})["changed"] == []
    assert ask.get("/api/sheets?numbers=2")[0]["columns"]["verdict"][:2] == [None, "reject"]
    assert ask.post("/api/undo", {})["changed"] == [[2, 1, None], [3, 0, None]]
    assert [line.split(",")[6] for line in lines(run)[before:]] == ["reject", "reject", "withdrawn", "withdrawn"]


def test_undo_goes_back_step_by_step_to_what_was_before_and_then_says_nothing_is_left(ask: Asking) -> None:
    ask.post("/api/decisions", {"tiles": [[2, 2]], "verdict": "reject"})
    ask.post("/api/decisions", {"tiles": [[2, 2], [2, 3]], "verdict": "keep"})
    assert ask.post("/api/undo", {})["changed"] == [[2, 2, "reject"], [2, 3, None]]
    assert ask.post("/api/undo", {})["changed"] == [[2, 2, None]]
    assert ask.post("/api/undo", {})["changed"] == []


def test_what_is_wrong_changes_nothing(run: Path, ask: Asking) -> None:
    before = lines(run)
    for body, said in (
        ({"tiles": [[2, 4]], "verdict": "reject"}, "is out already: blank"),
        ({"tiles": [[2, 0], [2, 99]], "verdict": "reject"}, "tile 99 of sheet 2"),
        ({"tiles": [[77, 0]], "verdict": "reject"}, "sheet 77"),
        ({"tiles": [[2, 0]], "verdict": "maybe"}, "verdict"),
        ({"tiles": [["2; drop", 0]], "verdict": "keep"}, "tiles"),
    ):
        status, content, _ = ask.raw("POST", "/api/decisions", body)
        assert status in {400, 422}
        assert said in content.decode()
    assert lines(run) == before


def test_finishing_keeps_what_was_seen_and_leaves_what_was_decided(run: Path, ask: Asking) -> None:
    ask.post("/api/decisions", {"tiles": [[3, 3]], "verdict": "reject"})
    before = len(lines(run))
    answer = ask.post("/api/finish", {"seen": [[3, 1], [3, 2], [3, 3], [2, 4]]})
    assert answer["changed"] == [[3, 1, "keep"], [3, 2, "keep"]]
    assert [line.split(",")[6] for line in lines(run)[before:]] == ["keep", "keep"]
    assert all(line.endswith(",slide finished") for line in lines(run)[before:])


def test_tiles_of_the_same_colour_are_the_most_alike(ask: Asking) -> None:
    found = ask.get("/api/sheets/2/like/2")
    assert found["rows"][0] == 2
    assert set(found["rows"][:2]) == {2, 3}
    assert set(found["rows"]) == {0, 1, 2, 3, 5, 6, 7, 8}
    assert found["distances"] == sorted(found["distances"])
    assert found["distances"][0] == 0
    assert ask.raw("GET", "/api/sheets/2/like/4")[0] == 400


def test_a_file_edited_by_hand_while_the_page_is_open_is_taken_up(tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DD"])
    with screening(tmp_path, "--reader", "anna") as page:
        ask = Asking(page)
        ask.post("/api/decisions", {"tiles": [[0, 0]], "verdict": "reject"})
        file = tmp_path / "screening.csv"
        file.write_text(file.read_text(encoding="utf-8").replace("reject", "keep"), encoding="utf-8")
        assert ask.get("/api/sheets?numbers=0")[0]["columns"]["verdict"] == ["keep", None]
        file.write_text("slide,tile,decision\none,r0_c0_0.5um,perhaps\n", encoding="utf-8")
        status, content, _ = ask.raw("GET", "/api/sheets?numbers=0")
        assert status == 503
        assert "line 2" in json.loads(content)["error"]


def test_decisions_about_tiles_that_the_cohort_lacks_are_counted(tmp_path: Path) -> None:
    """A table program turns the slide 001 into 1, and its decisions would otherwise be lost without a word."""
    write_slide_run(tmp_path, "001", ["DD"])
    (tmp_path / "screening.csv").write_text(
        "slide;tile;decision;reader\n1;r0_c0_0.5um;reject;anna\n001;r0_c1_0.5um;reject;anna\n001;r9_c9_0.5um;keep;anna\n",
        encoding="utf-8",
    )
    with screening(tmp_path, "--reader", "anna") as page:
        cohort = Asking(page).get("/api/cohort")
        sheet = cohort["sheets"][0]
        assert (cohort["strangers"], sheet["rejected"], sheet["decided"]) == (2, 1, 1)


def test_decisions_about_a_tile_of_the_same_name_at_another_place_are_counted(tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DDD"])
    for number, left in ((0, 0), (1, 256), (2, 512)):
        one = Decision(
            slide="one", tile=f"r0_c{number}_0.5um", verdict=Verdict.REJECT, reader="anna", left_l0=left, top_l0=0
        )
        append_decisions(tmp_path / "screening.csv", [one])
    with screening(tmp_path, "--reader", "anna") as page:
        ask = Asking(page)
        shown = ask.get("/api/sheets?numbers=0")[0]
        assert (shown["moved"], shown["columns"]["verdict"]) == (2, ["reject", None, None])
        again = ask.post("/api/decisions", {"tiles": [[0, 2]], "verdict": "reject"})  # of what lies there now
        assert len(again["changed"]) == 1
        ask.post("/api/finish", {"seen": [[0, 1]]})
        shown = ask.get("/api/sheets?numbers=0")[0]
        assert (shown["moved"], shown["columns"]["verdict"]) == (0, ["reject", "keep", "reject"])


def test_what_cannot_be_saved_is_not_taken_for_saved(tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DD"])
    with screening(tmp_path) as page:
        ask = Asking(page)
        (tmp_path / "screening.csv").mkdir()
        status, content, _ = ask.raw("POST", "/api/decisions", {"tiles": [[0, 0]], "verdict": "reject"})
        assert status == 503
        assert "cannot be read (Is a directory)" in json.loads(content)["error"]
        (tmp_path / "screening.csv").rmdir()
        assert ask.get("/api/sheets?numbers=0")[0]["columns"]["verdict"] == [None, None]
        assert ask.post("/api/undo", {})["changed"] == []


def test_read_only_shows_what_all_readers_come_to_and_writes_nothing(tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DDD"])
    for tile, reader, verdict in (("r0_c0_0.5um", "anna", Verdict.REJECT), ("r0_c0_0.5um", "ben", Verdict.KEEP)):
        append_decisions(tmp_path / "screening.csv", [Decision(slide="one", tile=tile, verdict=verdict, reader=reader)])
    before = (tmp_path / "screening.csv").read_bytes()
    with screening(tmp_path, "--read-only") as page:
        ask = Asking(page)
        assert ask.get("/api/cohort")["readOnly"] is True
        assert ask.get("/api/sheets?numbers=0")[0]["columns"]["verdict"] == ["reject", None, None]
        assert ask.raw("POST", "/api/decisions", {"tiles": [[0, 1]], "verdict": "reject"})[0] == 400
    assert (tmp_path / "screening.csv").read_bytes() == before


def test_ready_made_tiles_come_from_their_files_and_never_from_outside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "tiles-of-others"
    (folder / "LMS").mkdir(parents=True)
    Image.new("RGB", (64, 48), (200, 10, 10)).save(folder / "LMS" / "a.png")
    Image.new("RGB", (300, 300), (10, 200, 10)).save(folder / "LMS" / "b.png")
    Image.new("RGB", (64, 64), (1, 2, 3)).save(tmp_path / "secret.png")
    (folder / "LMS" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    (folder / "LMS" / "link.png").symlink_to(tmp_path / "secret.png")
    names = ["LMS/a.png", "LMS/b.png", "LMS/bad.png", "../secret.png", str(tmp_path / "secret.png"), "LMS/link.png"]
    nothing = dict.fromkeys(("left_l0", "top_l0", "width_l0", "height_l0"))
    rows = [tile_row("p1", 0, 0, label="LMS", **nothing) | {"tile": name, "file": name} for name in sorted(names)]
    write_tiles(tmp_path / "run", "p1", rows, kind="ready-made tiles", folder=str(folder))
    with screening(tmp_path / "run") as page:
        ask = Asking(page)
        (slide,) = ask.get("/api/sheets?numbers=0")
        assert (slide["readyMade"], slide["size"], slide["error"]) == (True, None, None)
        number = {name: row for row, name in enumerate(slide["columns"]["tile"])}
        assert ask.rgb(f"/api/sheets/0/tiles/{number['LMS/a.png']}/small.jpg").shape == (48, 64, 3)
        assert ask.rgb(f"/api/sheets/0/tiles/{number['LMS/b.png']}/small.jpg").shape == (192, 192, 3)
        assert ask.rgb(f"/api/sheets/0/tiles/{number['LMS/link.png']}/small.jpg").shape == (64, 64, 3)  # their own
        for name in ("../secret.png", str(tmp_path / "secret.png")):
            status, content, _ = ask.raw("GET", f"/api/sheets/0/tiles/{number[name]}/small.jpg")
            assert (status, "lies outside" in content.decode()) == (422, True)
        assert ask.raw("GET", f"/api/sheets/0/tiles/{number['LMS/bad.png']}/small.jpg")[0] == 422
        assert ask.raw("GET", "/api/sheets/0/overview.jpg")[0] == 422
        assert set(ask.get(f"/api/sheets/0/like/{number['LMS/a.png']}")["rows"][:1]) == {number["LMS/a.png"]}


def test_ready_made_tiles_without_slides_are_looked_through_class_by_class(tmp_path: Path) -> None:
    for label in ("LMS", "UPS"):
        (tmp_path / label).mkdir()
        for number in range(3):
            Image.new("RGB", (32, 32), (200, 10, 10 * number)).save(tmp_path / label / f"{number}.png")
    names = [(label, f"{label}/{number}.png") for label in ("UPS", "LMS") for number in range(3)]
    rows = [tile_row(name.replace("/", "_"), 0, 0, tile=name, file=name, label=label) for label, name in names]
    write_tiles(tmp_path / "run", "x", rows, "ready-made-1", kind="ready-made tiles", folder=str(tmp_path))
    with screening(tmp_path / "run", "--reader", "anna") as page:
        ask = Asking(page)
        ask.post("/api/decisions", {"tiles": [[1, 2]], "verdict": "reject"})
        sheets = ask.get("/api/cohort")["sheets"]
        assert [(one["name"], one["isSlide"], one["inUse"], one["rejected"]) for one in sheets] == [
            ("LMS", False, 3, 0),
            ("UPS", False, 3, 1),
        ]
        (sheet,) = ask.get("/api/sheets?numbers=1")
        assert sheet["columns"]["tile"] == ["UPS/0.png", "UPS/1.png", "UPS/2.png"]
        assert sheet["columns"]["slide"] == ["UPS_0.png", "UPS_1.png", "UPS_2.png"]
        assert sheet["columns"]["verdict"] == [None, None, "reject"]
    assert lines(tmp_path / "run")[0].startswith("UPS_2.png,UPS/2.png,0.5,0,0,UPS,reject,anna,")
