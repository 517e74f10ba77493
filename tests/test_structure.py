"""The shape of the package: short files, few arguments, no circle of imports, every fact once, a map that is true."""

from __future__ import annotations

import ast
import configparser
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import gapkit
import gapkit.potential  # whose classes are then registered
from gapkit.io.registry import classes

ROOT = Path(gapkit.__file__).parent
LONGEST_FILE = 400  # lines
MOST_ARGUMENTS = 8
MANY_ARGUMENTS = {  # none may become more
    "gapkit/potential/gap.py: GAP.__init__": 12,  # an estimator's parameters are flat by scikit-learn's contract
    "gapkit/descriptors/soap/descriptor.py: SOAP.__init__": 13,  # likewise
}


@cache
def trees() -> dict[str, ast.Module]:
    """Syntax trees of all modules by name; packages by their own."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def packages() -> list[str]:
    return [".".join(path.parent.relative_to(ROOT.parent).parts) for path in sorted(ROOT.rglob("__init__.py"))]


def test_no_file_is_long():
    lines = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in ROOT.rglob("*.py")}
    assert len(lines) > 150
    assert {name: n for name, n in lines.items() if n > LONGEST_FILE} == {}


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        inner = f"{prefix}{node.name}." if isinstance(node, ast.ClassDef | ast.FunctionDef) else prefix
        yield from functions(node, inner)


def test_no_function_has_many_arguments():
    many = {}
    for module, tree in trees().items():
        if module.startswith("gapkit._core"):
            continue
        for name, node in functions(tree):
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            n = len([a for a in arguments if a not in ("self", "cls")])
            if n > MOST_ARGUMENTS:
                many[f"{module.replace('.', '/')}.py: {name}"] = n
    for kind in ("Descriptor", "GapKernel", "SparseSelector"):  # dataclasses, whose `__init__` stands in no file
        for cls in classes(kind).values():
            n = len(inspect.signature(cls).parameters)
            if n > MOST_ARGUMENTS and cls.__module__.startswith("gapkit."):
                many[f"{cls.__module__.replace('.', '/')}.py: {cls.__name__}.__init__"] = n
    assert many == MANY_ARGUMENTS


# ---------------------------------------------------------------------- imports


def imported(module: str, tree: ast.Module) -> set[str]:
    """Modules of gapkit that a module imports, anywhere and for types as well.

    The package above a module is none of them: to import `gapkit.io.codec` runs `gapkit.io` first, wherever it stands.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in trees() else str(node.module))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in trees()} - {module, "gapkit"}


def test_no_circle_of_imports():
    graph = {module: imported(module, tree) for module, tree in trees().items() if module != "gapkit"}
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in finished:
            for other in sorted(graph[module]):
                visit(other, (*path, module))
            finished.add(module)

    for module in graph:
        visit(module, ())
    assert sum(map(len, graph.values())) > 500


# ---------------------------------------------------------------------- facts stated once

ONCE = {
    "gapkit.targets": {
        "order of Voigt": lambda text: re.search(r"\(\s*\[?0,\s*1,\s*2,\s*[12],\s*[02],\s*[01]\b", text),
        "Voigt in words": lambda text: re.search(r"""["']xx["'],\s*["']yy["']""", text),
        "components": lambda text: re.search(r"""["']energy["']: 1, ["']forces["']: 3""", text),
        "targets": lambda text: re.search(r"""["']energy["'], ["']forces["'], ["']virial["']""", text),
    },
}


@pytest.mark.parametrize(("owner", "fact"), [(owner, fact) for owner, facts in ONCE.items() for fact in facts])
def test_a_fact_is_stated_once(owner, fact):
    found = [module for module, tree in trees().items() if ONCE[owner][fact](code(tree))]
    assert set(found) <= {owner}


def code(tree: ast.Module) -> str:
    """Source without comments and docstrings."""
    tree = ast.parse(ast.unparse(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


# ---------------------------------------------------------------------- docstrings of folders


@pytest.mark.parametrize("package", packages())
def test_a_folder_says_what_is_in_it_what_is_not_and_what_it_imports(package):
    text = ast.get_docstring(trees()[package])
    assert text is not None
    sentences = re.findall(r"[.!?](?:\s|$)", text)
    assert len(sentences) >= 3, text
    if package != "gapkit":
        inside, _, imports = re.sub(r"\s+", " ", text).lower().rpartition("import")
        assert imports, text
        # what is not here: said in so many words, or by the folder that has it
        assert re.search(r"\b(no|not|nothing|none|never|neither|nor)\b", text.lower()) or "`" in inside, text


# ---------------------------------------------------------------------- the map


@cache
def the_map() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def names(tree: ast.Module) -> set[str]:
    """Functions, classes, methods and constants, each as in `Class.method`."""
    found = {name for name, _ in functions(tree)}
    found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            assigned = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in assigned if isinstance(target, ast.Name)}
    return found


def test_every_name_on_the_map_exists():
    listed = re.findall(r"`([\w/]+)\.py(?::([\w.]+))?`", the_map())
    assert len(listed) > 40
    for file, name in listed:
        if file.startswith(("tests/", "examples/")):
            assert (ROOT.parent / f"{file}.py").exists(), file
            continue
        module = "gapkit." + file.removesuffix("/__init__").replace("/", ".")
        if "/" not in file and module not in trees():
            continue  # `setup.cfg` and the like
        assert module in trees(), file
        assert not name or name in names(trees()[module]), f"{file}.py:{name}"


def test_the_map_shows_every_folder():
    drawing = the_map().split("```")[1]
    here = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    shown = set(re.findall(r"(\w+)/(?=\s)", drawing))
    assert here <= shown
    inner = {path.parent.name for path in ROOT.glob("*/*/__init__.py")}
    assert shown <= here | inner
    files = {path.name for path in ROOT.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert set(re.findall(r"\w+\.py", drawing)) == files


def test_the_map_has_the_order_of_the_contract():
    contract = configparser.ConfigParser()
    contract.read(ROOT.parent / "setup.cfg")
    lines = contract["importlinter:contract:layers"]["layers"].split("\n")
    rank = {name.strip(" ()"): i for i, line in enumerate(lines) for name in line.split("|") if name.strip()}
    drawing = the_map().split("```")[1].split("targets.py")[0]
    drawn = re.findall(r"(\w+)/(?=\s)", drawing)
    order = [rank[name] for name in drawn if name in rank]
    assert len(order) > 18
    assert order == sorted(order)
