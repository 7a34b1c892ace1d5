"""The site: built strictly, complete without a network, and readable in a real browser on a phone and by keyboard."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from browser import Browser
from source_tree import ROOT

pytest.importorskip("mkdocs")
pytest.importorskip("material")

LESSONS = sorted(path.stem for path in (ROOT / "docs" / "lessons" / "en").glob("[0-9]*.md"))


def build(config: Path, goal: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(goal)],
                          capture_output=True, text=True, timeout=200, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    goal = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", goal)
    assert done.returncode == 0, done.stdout + done.stderr
    return goal


def test_a_dead_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# One\n\n[two](two.md) [three](#three)\n", encoding="utf-8")
    whole = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    short = re.sub(r"^(nav|hooks):.*?(?=^\S|\Z)", "", whole, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mkdocs.yml").write_text(short, encoding="utf-8")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "'two.md'" in done.stdout + done.stderr
    assert "'#three'" in done.stdout + done.stderr


def test_nothing_is_fetched_from_a_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"?(?:https?:)?//", text) == [], page.name


def test_links_to_code_lead_to_the_definition(site: Path) -> None:
    page = (site / "lessons" / "en" / "08-scores.html").read_text(encoding="utf-8")
    assert 'href="../../code/src/seqloom/nn/scores.py.html#Dot"' in page
    code = (site / "code" / "src" / "seqloom" / "nn" / "scores.py.html").read_text(encoding="utf-8")
    assert '<h2 id="Dot">' in code
    assert '<html lang="ko"' in (site / "lessons" / "ko" / "08-scores.html").read_text(encoding="utf-8")


# Whether an element's text has a glyph for every character: one that is missing is drawn as the box of U+FFFF is.
GLYPHS = """(() => {
  const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const drawn = (letter) => { pen.canvas.width = 32; pen.font = '20px ' + getComputedStyle(document.body).fontFamily;
    pen.fillText(letter, 2, 24); return pen.getImageData(0, 0, 32, 32).data.join(); };
  const box = drawn('\\uffff');
  return [...new Set(document.body.innerText)].filter((one) => one.trim() && drawn(one) === box).join('');
})()"""


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_lessons_in_a_browser(language: str, site: Path) -> None:
    """Every page on the width of a phone: no error, no request, no missing glyph, every picture there, no overflow."""
    with Browser(360, 800) as page:
        for name in [*(f"lessons/{language}/{name}" for name in LESSONS), "glossary", "glossary.ko", "index"]:
            page.open(site / f"{name}.html")
            assert page.overflow() == 0, name
            assert page.run(GLYPHS) == "", name
            assert page.run("[...document.images].every((one) => one.complete && one.naturalWidth > 50)"), name
            assert [one for one in page.problems if "data:image" not in one] == [], name


def missing(page: Browser, letters: str) -> str:
    """Those letters that no font of this machine draws."""
    return str(page.run(GLYPHS.replace("document.body.innerText", json.dumps(letters))))


def test_the_letters_of_the_pictures_can_be_drawn(site: Path) -> None:
    """The text of the drawn pictures, which an <img> hides from its page; and the check sees what is missing."""
    folder = site / "lessons" / "pictures"
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.svg"))}
    drawn = {name: html.unescape("".join(re.findall(r">([^<>]+)</", text))) for name, text in texts.items()}
    with_hangul = {name for name, text in drawn.items() if re.search("[가-힣]", text)}
    assert with_hangul >= {"03-summary.svg", "07-four-steps.svg", "09-reversal.svg", "12-chatbot.svg"}
    with Browser() as page:
        page.open(site / "index.html")
        assert missing(page, "가\ufdd0a") == "\ufdd0"
        assert missing(page, "".join(drawn.values())) == ""
        for path in sorted(folder.glob("*.svg")):
            page.open(path)
            assert page.problems == []


def test_a_lesson_by_keyboard(site: Path) -> None:
    """The answer opens with the keyboard, and the next lesson can be reached with Tab."""
    with Browser() as page:
        page.open(site / "lessons" / "ko" / "02-gates.html")
        assert not page.run("document.querySelector('details').open")
        page.run("document.querySelector('details summary').focus()")
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key=" ", code="Space", text=" ", windowsVirtualKeyCode=32)
        assert page.run("document.querySelector('details').open")
        for _ in range(12):
            page.press("Tab")
            if page.run("document.activeElement.matches('a.md-footer__link--next')"):
                break
        assert page.run("document.activeElement.matches('a.md-footer__link--next')")
