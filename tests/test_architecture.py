"""The shape of the package: direction of imports, budgets, types, words. Only the last tests import anything."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from source_tree import (
    MODULES,
    ROOT,
    SOURCE_FILES,
    Function,
    at,
    functions,
    imported,
    parameters,
    python_files,
    tree_of,
)

# Imports point up this list only (decision 0006). Parts of one line may import each other in one direction at most.
LEVELS = [
    ["_version", "types", "errors", "progress", "config"],
    ["data", "search", "metrics"],
    ["nn"],
    ["sources", "heads"],
    ["model", "run"],
    ["engines"],
    ["insight"],
    ["predictor"],
    ["together"],
    ["evaluation", "export"],
    ["training", "tuning"],
    # "" is seqloom itself, whose names are those of api
    ["plots", "server", "api", "demo", "claims", "cli", "__main__", ""],
]
LEVEL = {part: number for number, parts in enumerate(LEVELS) for part in parts}

# Parts that may import torch when they are imported; elsewhere it is imported inside the function that needs it.
TORCH_PARTS = ("nn", "model", "training", "engines.torch", "engines.dynamic")

FILE_LINES, FUNCTION_LINES = 400, 60

# Words of the field that the code spells out (docs/notation.md), in names of functions, classes, parameters, fields.
# Not among them: ctx, which torch.autograd.Function and typer prescribe for methods that override theirs.
ABBREVIATIONS = set("""
    attn att enc dec hyp hyps cfg idx idxs lr src tgt trg emb embs seq seqs prob probs logprob logprobs lp wts feat
    feats tok toks sent sents pred preds refs opt optim sched ckpt eos bos sos unk hid lens cnt tmp arr img msg func fn
    cb bs num nums vec vecs mat elem elems curr prev val vals cov ppl acc grads dir fname fpath
""".split())


def part_of(module: str) -> str:
    return module.partition(".")[0]


def running_nodes(tree: ast.AST, *, inside_functions: bool) -> Iterator[ast.AST]:
    """Nodes that run, at import or later: those under TYPE_CHECKING never do."""
    for node in ast.iter_child_nodes(tree):
        only_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if only_for_types or (isinstance(node, Function | ast.Lambda) and not inside_functions):
            continue
        yield node
        yield from running_nodes(node, inside_functions=inside_functions)


def own_imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """(dotted name below seqloom, node) of every import of our own among these nodes."""
    for node in nodes:
        for name in imported(node):
            if name == "seqloom" or name.startswith("seqloom."):
                yield name.removeprefix("seqloom").removeprefix("."), node


def cycle_in(edges: dict[str, set[str]]) -> list[str]:
    """A cycle of the graph as a list of its nodes, or an empty list."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node):], node]
        if node in done:
            return []
        for following in sorted(edges.get(node, ())):
            if found := visit(following, [*trail, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(edges) if (found := visit(node, []))), [])


# --- imports ---------------------------------------------------------------------------------------------------------


def test_every_part_has_a_level() -> None:
    assert {part_of(module) for module in MODULES} <= set(LEVEL), "give the new part its line in LEVELS"


def test_imports_point_one_way() -> None:
    uphill = [
        f"{at(path, node)}: {module or 'seqloom'} imports {name or 'seqloom'}"
        for module, path in MODULES.items()
        for name, node in own_imports(ast.walk(tree_of(path)))
        if LEVEL[part_of(name)] > LEVEL[part_of(module)]
    ]
    assert uphill == []


def test_parts_have_no_cycle() -> None:
    parts: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for name, _ in own_imports(ast.walk(tree_of(path))):
            if part_of(name) != part_of(module):
                parts.setdefault(part_of(module), set()).add(part_of(name))
    assert cycle_in(parts) == []


def test_modules_have_no_cycle() -> None:
    """Inside a part, a name that only a type checker reads may point back; an import inside a function may not."""
    modules: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for name, _ in own_imports(running_nodes(tree_of(path), inside_functions=True)):
            modules.setdefault(module, set()).add(name)
    assert cycle_in(modules) == []


def test_torch_is_imported_where_networks_are() -> None:
    found = [
        at(path, node)
        for module, path in MODULES.items()
        if not any(module == part or module.startswith(f"{part}.") for part in TORCH_PARTS)
        for node in running_nodes(tree_of(path), inside_functions=False)
        for name in imported(node)
        if name.partition(".")[0] == "torch" or part_of(name.removeprefix("seqloom.")) in ("nn", "model")
    ]
    assert found == []


def test_cycle_in_finds_a_cycle() -> None:
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}}) == []


# --- budgets, types, words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "docs"])
def test_files_are_short(folder: str) -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
               for path in python_files(folder)}
    assert {name: length for name, length in lengths.items() if length > FILE_LINES} == {}


def test_functions_are_short() -> None:
    long = {
        f"{at(path, node)} {node.name}": lines
        for path in SOURCE_FILES
        for node in functions(path)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    }
    assert long == {}


def test_every_function_is_typed() -> None:
    untyped = [
        f"{at(path, node)} {node.name}"
        for path in SOURCE_FILES
        for node in functions(path)
        if node.returns is None
        or any(argument.annotation is None and argument.arg not in ("self", "cls") for argument in parameters(node))
    ]
    assert untyped == []


def test_names_are_spelled_out() -> None:
    short = []
    for path in SOURCE_FILES:
        for node in ast.walk(tree_of(path)):
            names = []
            if isinstance(node, Function):
                names = [node.name, *(argument.arg for argument in parameters(node))]
            elif isinstance(node, ast.ClassDef):
                fields = [item.target.id for item in node.body
                          if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
                names = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", node.name), *fields]
            short += [f"{at(path, node)} {name}" for name in names
                      if ABBREVIATIONS.intersection(name.lower().split("_"))]
    assert short == [], "docs/notation.md has the words"


# --- importing -------------------------------------------------------------------------------------------------------

HEAVY = ["torch", "onnxruntime", "tokenizers", "sacrebleu", "matplotlib", "babel", "onnx", "tensorboard"]


def imports_quietly(modules: list[str], unwanted: list[str]) -> str:
    """What a fresh process says when it imports these modules, and which of the unwanted ones that loads."""
    program = f"import sys, {', '.join(modules)}\n" \
              f"print(*[name for name in {unwanted!r} if name in sys.modules], end='')"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def test_importing_seqloom_is_silent_and_light() -> None:
    assert imports_quietly(["seqloom"], HEAVY) == ""


def test_modules_without_networks_load_no_torch() -> None:
    light = [f"seqloom.{name}" for name in MODULES
             if name not in ("", "__main__") and not any(name == p or name.startswith(f"{p}.") for p in TORCH_PARTS)]
    assert imports_quietly(light, ["torch", "matplotlib", "babel", "onnx"]) == ""


def test_importing_every_module_is_silent() -> None:
    pytest.importorskip("torch")
    assert imports_quietly([f"seqloom.{name}" for name in MODULES if name not in ("", "__main__")], []) == ""


def test_training_without_torch_names_the_extra(tmp_path: Path) -> None:
    """The core alone is installed: None in sys.modules makes an import fail as a missing package does."""
    (tmp_path / "pairs.tsv").write_text("a b\tb a\nc d\td c\n" * 9, encoding="utf-8")
    program = "import sys; sys.modules['torch'] = None; from seqloom.cli import main; main(['train', 'pairs.tsv'])"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "pip install 'seqloom[train]'" in done.stderr
    assert "Traceback" not in done.stderr
