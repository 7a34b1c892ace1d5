"""Print the lower bounds of pyproject.toml as constraints, so that CI can test the oldest versions that it promises.

    python .ci/oldest.py > oldest.txt && pip install -c oldest.txt -e '.[dev]'

Bounds of the development tools are left out: what users install is what must work.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def main() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "dev"}
    for line in [*project["dependencies"], *(line for lines in extras.values() for line in lines)]:
        if bound := re.fullmatch(r"([\w.-]+)>=([\w.]+)", line):
            print(f"{bound[1]}=={bound[2]}")


if __name__ == "__main__":
    main()
