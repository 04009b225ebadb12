"""The layers of design.md, held against the imports of the code."""

import ast
import pathlib
import subprocess
import sys

import pytest

import jaxbatt

ROOT = pathlib.Path(jaxbatt.__file__).parent
LAYERS = [
    ["_types", "_batches", "_checks", "_files", "_linalg", "_progress", "_version"],
    ["_order"],
    ["couplings", "disorder", "paulis", "protocols", "results"],
    ["battery", "bounds", "kernels", "propagators", "plots"],
    ["hamiltonian", "frames"],
    ["observables", "theory"],
    ["solvers"],
    ["maxima"],
    ["slopes"],
    ["charging", "charger"],
    ["sweeps", "optimization"],
    ["paper", "study", "bench"],
    ["cli"],
    ["__main__"],
]
"""An import points to a strictly higher row of this list. ``observables`` measures through operators, hence one below."""
LAYER = {name: i for i, names in enumerate(LAYERS) for name in names}
FILES = sorted(path for path in ROOT.rglob("*.py"))


def unit(path):
    """The module or package right under jaxbatt that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def name_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Dotted names of all that a file imports from jaxbatt: modules, as far as the names are modules."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} line {node.lineno}: write the import in full"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.split(".")[0] == "jaxbatt"]


def module_of(dotted):
    """The longest part of a dotted name that is a module."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.parent.joinpath(*parts[:end])
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
            return ".".join(parts[:end])
    raise AssertionError(f"{dotted} is no module of jaxbatt")


INSIDE = [path for path in FILES if path != ROOT / "__init__.py"]


def test_every_module_has_its_layer():
    assert {unit(path) for path in INSIDE} - set(LAYER) == set()
    assert len(INSIDE) > 20


@pytest.mark.parametrize("path", INSIDE, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    for dotted in imports(path):
        module = module_of(dotted)
        if module == "jaxbatt":
            # The front door, with the names that it re-exports, belongs to the top rows only.
            assert LAYER[unit(path)] >= LAYER["paper"], f"{path} imports {dotted} through the front door"
            continue
        target = module.split(".")[1]
        assert target == unit(path) or LAYER[target] < LAYER[unit(path)], f"{path} imports {dotted}"


def test_no_cycles_inside_packages():
    """Depth-first over all files; a package's ``__init__`` counts as what it re-exports."""
    graph = {name_of(path): {module_of(dotted) for dotted in imports(path)} - {name_of(path)} for path in INSIDE}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done or name not in graph:
            return
        path.append(name)
        for target in sorted(graph[name]):
            visit(target)
        path.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)
    assert len(done) == len(graph)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_inside_a_function(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            hidden = [inner.lineno for inner in ast.walk(node) if isinstance(inner, (ast.Import, ast.ImportFrom))]
            assert hidden == [], f"{path} imports inside a function in lines {hidden}"


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.name == "__init__.py"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_packages_only_re_export(path):
    """Docstring, imports, names; at the front door also the switch to 64 bits and the lazy names."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert docstring or isinstance(node, allowed) or (isinstance(node, ast.If) and path == ROOT / "__init__.py"), ast.unparse(
            node
        )


def test_public_names_exist():
    assert sorted(jaxbatt.__all__) == sorted(set(jaxbatt.__all__)) == dir(jaxbatt)
    for name in jaxbatt.__all__:
        assert getattr(jaxbatt, name) is not None


def printed(code):
    """What a fresh process prints."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    return result.stdout.strip()


def test_import_is_light():
    """What needs matplotlib, diffrax, optax, xarray, zarr or typer is loaded on first use."""
    heavy = ["matplotlib", "diffrax", "optax", "xarray", "zarr", "typer", "rich"]
    assert printed(f"import jaxbatt, sys; print([name for name in {heavy} if name in sys.modules])") == "[]"


DTYPE = "import jaxbatt, jax.numpy as jnp; print(jaxbatt.nearest_neighbor(2, 1.0).dtype)"
PRODUCTS = "import jaxbatt, jax; print(jax.config.jax_default_matmul_precision)"


@pytest.mark.parametrize(
    ("variable", "value", "code", "expected"),
    [
        ("JAX_ENABLE_X64", None, DTYPE, "float64"),
        ("JAX_ENABLE_X64", "0", DTYPE, "float32"),
        ("JAX_ENABLE_X64", "1", DTYPE, "float64"),
        ("JAX_DEFAULT_MATMUL_PRECISION", None, PRODUCTS, "highest"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "tensorfloat32", PRODUCTS, "tensorfloat32"),
    ],
)
def test_precision_of_the_environment(monkeypatch, variable, value, code, expected):
    """Importing turns on 64 bits and full precision of products, which a GPU does not give by default, unless told otherwise."""
    monkeypatch.delenv(variable, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    assert printed(code) == expected
