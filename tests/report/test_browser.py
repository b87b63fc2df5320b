"""The page in a real browser: no network, no error, nothing wider than the screen, on paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regraft.report import comparison_html
from regraft.report.page import of_run
from tests.report.made import comparison, material

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed"),
]
#: Run in a copy of a page: what is wider than the frame and is not made to scroll by itself.
MEASURE = """<script>addEventListener("load", () => {
  document.querySelectorAll("details").forEach(one => one.open = true);
  const wide = document.documentElement.clientWidth;
  const out = [...document.querySelectorAll("body *")].filter(one =>
    one.getBoundingClientRect().right > wide + 1 && !one.closest(".wide, pre, svg"));
  const small = [...document.querySelectorAll("svg text")].filter(one =>
    one.getBoundingClientRect().height < 7);
  const broken = [...document.images].filter(one => !one.complete || !one.naturalWidth);
  parent.postMessage([document.documentElement.scrollWidth, wide, out.map(o => o.outerHTML
    .slice(0, 80)), small.length, broken.length, document.images.length].join("|"), "*");
});</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pages")
    names = ["a very long name of a class " * 3, "<script>document.title='run'</script>", "c"]
    (home / "three.html").write_bytes(of_run(material(names=names)).data)
    (home / "many.html").write_bytes(of_run(material(classes=150, count=600)).data)
    (home / "versus.html").write_bytes(comparison_html(comparison()))
    return home


def browse(page: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Open a page without a network; the console goes to stderr."""
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND", "--no-first-run",
        "--enable-logging=stderr", "--log-level=0", f"--user-data-dir={page.parent / 'profile'}",
        "--virtual-time-budget=4000", *arguments, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("name", ["three", "many", "versus"])
def test_it_opens_without_an_error_and_runs_nothing(pages: Path, name: str) -> None:
    done = browse(pages / f"{name}.html", "--dump-dom")
    assert console(done) == []
    assert re.search(r"<title>regraft (report|comparison): runs/", done.stdout)
    wanted = ("cost", "arms") if name == "versus" else ("confusion", "classes", "map", "examples")
    for key in wanted:
        assert f'<section id="{key}">' in done.stdout


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("name", ["three", "many", "versus"])
def test_nothing_is_wider_than_the_screen_or_too_small_to_read(
    pages: Path, name: str, width: int
) -> None:
    page = (pages / f"{name}.html").read_text()
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    copy = pages / f"copy-{name}.html"
    copy.write_text(policy.sub("", page).replace("</body>", MEASURE + "</body>"))
    frame = pages / f"frame-{name}-{width}.html"
    frame.write_text(
        f"<body><p id=said></p><iframe src='{copy.name}' style='width:{width}px;height:900px;"
        "border:0'></iframe><script>addEventListener('message', e => said.textContent = e.data)"
        "</script></body>"
    )
    done = browse(frame, "--dump-dom", "--allow-file-access-from-files")
    said = re.search(r'<p id="said">([^<]*)</p>', done.stdout)
    assert said is not None
    scroll, wide, out, small, broken, images = said[1].split("|")
    assert int(wide) == width
    assert int(scroll) <= width
    assert out == ""
    assert int(small) == 0
    assert int(broken) == 0
    assert int(images) == (0 if name == "versus" else 4)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_follows_the_screens_colours(pages: Path, dark: bool) -> None:
    shot = pages / f"shot-{dark}.png"
    asked = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = browse(pages / "three.html", "--window-size=600,1600", f"--screenshot={shot}", *asked)
    assert console(done) == []
    with Image.open(shot) as made:
        grey = np.asarray(made.convert("L")).astype(int)
    assert grey.shape == (1600, 600)
    assert (grey[0, 0] < 60) == dark
    ink = np.abs(grey - grey[0, 0])
    assert (ink > 120).mean() > 0.01
    assert np.median(ink) < 10


def test_it_prints(pages: Path) -> None:
    paper = pages / "three.pdf"
    browse(pages / "three.html", f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    data = paper.read_bytes()
    assert data.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 12
