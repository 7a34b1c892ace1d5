"""What MkDocs does beside its own for our site: code pages that lessons link to, and the language of each page.

A link such as ../../../src/seqloom/nn/scores.py#Dot opens the file on a code host. On the site it leads to a page made
of that file, whose headings are its classes and functions, so that the site needs no network and a link to a name that
is gone fails the build.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(((?:\.\./)+)((?:src|tests|benchmarks|\.github)/[^)#\s]+|[A-Za-z]+\.(?:md|cff))(#[^)\s]*)?\)")
KOREAN = re.compile(r"(?:^lessons/ko/|\.ko\.md$)")
REPOSITORY = "https://github.com/seqloom/seqloom/blob/main/"


def code_page(path: str) -> str:
    """A source file as a page: a heading for each class and function at its top level."""
    text = (ROOT / path).read_text(encoding="utf-8")
    lines, kind = text.splitlines(), path.rpartition(".")[2]
    parts: list[tuple[int, str]] = [(1, "")]
    if kind == "py":
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                parts.append((first, node.name))
    shown = [f"# {path}\n"]
    for (first, name), (after, _) in zip(parts, [*parts[1:], (len(lines) + 1, "")], strict=True):
        shown += [f"## {name} {{#{name}}}\n"] if name else []
        body = "\n".join(lines[first - 1:after - 1]).rstrip()
        shown += [f'````{{.{kind} linenums="{first}"}}\n{body}\n````\n'] if body else []
    return "\n".join(shown)


def linked_files(folder: Path) -> list[str]:
    """Source files that the pages of a folder link to, from the root of the repository."""
    texts = (page.read_text(encoding="utf-8") for page in folder.rglob("*.md"))
    found = {match[2] for text in texts for match in LINK.finditer(text)}
    return sorted(path for path in found if path.startswith("src/") and (ROOT / path).is_file())


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each linked source file."""
    from mkdocs.structure.files import File

    for path in linked_files(Path(config.docs_dir)):
        files.append(File.generated(config, f"code/{path}.md", content=code_page(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links out of docs/ lead to the code pages, or else to the repository."""
    here = posixpath.dirname(page.file.src_uri)

    def lead(found: re.Match[str]) -> str:
        code = f"code/{found[2]}.md"
        if files.get_file_from_path(code) is None:
            return f"]({REPOSITORY}{found[2]})"
        return f"]({posixpath.relpath(code, here or '.')}{found[3] or ''})"

    return LINK.sub(lead, markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Say in which language a page is, so that screen readers and fonts follow it."""
    language = "ko" if KOREAN.search(page.file.src_uri) else "en"
    return re.sub(r'<html lang="\w+"', f'<html lang="{language}"', output, count=1)
