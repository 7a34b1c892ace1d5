"""Run the lessons: every block of every page, in order, in one folder; put what they print and draw into the pages.

    make lessons                      # all of it: about a minute and a half on one core
    pytest tests/lessons              # the same blocks, once for both languages

A page's blocks are ```yaml (a file, named in its first line), ```python and ```sh. The ```text block after one is what
it printed. Both languages have the same blocks, so that they are run once.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import re
import runpy
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "ko")
BLOCK = re.compile(r"```(yaml|python|sh)\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)


class Block(NamedTuple):
    """One block of a page: its kind, its text, and what it printed; None where the page does not show that."""

    kind: str
    code: str
    output: str | None


class Picture(NamedTuple):
    """A page's picture: a file of the learner's own as it is, or one section of it as a browser shows it.

    section: number of the section on an HTML page; the whole page when it is negative.
    """

    file: str
    section: int = -1


PICTURES = {
    "01-hello": Picture("hello.svg"),
    "02-gates": Picture("gates.html", 0),
    "03-summary": Picture("path.svg"),
    "04-bottleneck": Picture("bottleneck.svg"),
    "05-padding": Picture("padded.html", 2),
    "06-teacher-forcing": Picture("forcing.svg"),
    "07-four-steps": Picture("attention.svg"),
    "08-scores": Picture("steps.html", 0),
    "09-reversal": Picture("reversed.svg"),
    "10-settings": Picture("tags.html", 0),
    "11-captions": Picture("caption.png"),
    "12-chatbot": Picture("reply.svg"),
    "13-transformer": Picture("scaled.svg"),
}
# What the fast tests make shorter: (as the page has it, as they run it).
SHORTER = {"11-captions": ('"epochs": 10', '"epochs": 1'),
           "13-transformer": ("training.epochs=5", "training.epochs=1")}


def pages(language: str) -> list[Path]:
    """The lessons of a language, in order."""
    return sorted((FOLDER / language).glob("[0-9]*.md"))


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page that are run."""
    return [Block(found[1], found[2], found[3]) for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def run_block(block: Block, folder: Path) -> str:
    """Run one block in a folder; what it printed. Raises AssertionError when a command fails."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        RUNNERS[block.kind](block.code)
    written = printed.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    return written.replace("\r\n", "\n")


def _write_file(code: str) -> None:
    name, _, rest = code.partition("\n")
    Path(name.removeprefix("# ")).write_text(rest, encoding="utf-8")


def _run_python(code: str) -> None:
    Path("lesson.py").write_text(code, encoding="utf-8")
    runpy.run_path("lesson.py")


def _run_commands(code: str) -> None:
    from seqloom.cli import main

    for line in code.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "seqloom", line
        code: object = 0
        try:
            main(arguments)
        except SystemExit as leaving:
            code = leaving.code
        assert not code, f"{line}: exit code {code}"


RUNNERS: dict[str, Callable[[str], None]] = {"yaml": _write_file, "python": _run_python, "sh": _run_commands}


def run_page(page: Path, folder: Path, *, short: bool = False) -> list[str]:
    """Run a page's blocks in a folder; what each printed. `short`: as the fast tests do, see SHORTER."""
    outputs = []
    for block in blocks_of(page):
        whole, less = SHORTER.get(page.stem, ("", "")) if short else ("", "")
        outputs.append(run_block(block._replace(code=block.code.replace(whole, less)), folder))
    return outputs


def filled(text: str, outputs: list[str]) -> str:
    """A page's text with these outputs in its ```text blocks."""
    left = iter(outputs)

    def fill(found: re.Match[str]) -> str:
        output = next(left)
        if found[3] is None:
            return found[0]
        return f"```{found[1]}\n{found[2]}```\n\n```text\n{output}```\n"

    return BLOCK.sub(fill, text)


def draw(page: Path, folder: Path) -> None:
    """Write a page's picture into pictures/."""
    picture = PICTURES[page.stem]
    source = folder / picture.file
    if source.suffix != ".html":
        shutil.copy(source, FOLDER / "pictures" / f"{page.stem}{source.suffix}")
        return
    place = f"(document.querySelectorAll('section')[{picture.section}] ?? document.querySelector('main'))"
    with _browser()(720, 4000) as browser:  # so tall that nothing has to scroll
        browser.open(source)
        clip = browser.run(f"(({{x, y, width, height}}) => ({{x, y, width, height, scale: 1}}))"
                           f"({place}.getBoundingClientRect())")
        answer = browser.call("Page.captureScreenshot", clip=clip)
    (FOLDER / "pictures" / f"{page.stem}.png").write_bytes(base64.b64decode(answer["data"]))


def _browser() -> Any:
    """The browser of the tests."""
    specification = importlib.util.spec_from_file_location("browser", FOLDER.parents[1] / "tests" / "browser.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.Browser


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        for page in pages("en"):
            print(page.stem, flush=True)
            outputs = run_page(page, Path(name))
            draw(page, Path(name))
            for language in LANGUAGES:
                other = FOLDER / language / page.name
                other.write_text(filled(other.read_text(encoding="utf-8"), outputs), encoding="utf-8")


if __name__ == "__main__":
    main()
