"""What the linters cannot see: that JAX does not differentiate for us, and that it is loaded on use only."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import grimp

SOURCE = Path(__file__).parents[1] / "src"


def run(script):
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=500,
    )


WITHOUT_JAX_AD = """
import jax
from jax.interpreters import ad

def refuse(*args, **kwargs):
    raise AssertionError("JAX was asked to differentiate")

for name in "grad value_and_grad vjp jvp linearize linear_transpose jacfwd jacrev hessian".split():
    setattr(jax, name, refuse)
for name in "jvp linearize vjp backward_pass backward_pass3 jvp_subtrace".split():
    if hasattr(ad, name):
        setattr(ad, name, refuse)
import jax._src.interpreters.ad as private
for name in "jvp linearize vjp backward_pass backward_pass3 jvp_subtrace jvp_jaxpr linearize_jaxpr".split():
    if hasattr(private, name):
        setattr(private, name, refuse)
{check}
import numpy as np
import chainrule as cr

model = cr.nn.Sequential(cr.nn.Linear(4, 8), cr.nn.SiLU(), cr.nn.Linear(8, 3))
trainer = cr.Trainer(model, cr.nn.CrossEntropyLoss(), cr.optim.Adam(lr=0.05), backend="xla")
rng = np.random.default_rng(0)
X = rng.standard_normal((60, 4)).astype(np.float32)
history = trainer.fit(X, X[:, :3].argmax(axis=1), epochs=20, batch_size=20, progress=False)
assert history.loss[-1] < 0.7 * history.loss[0], history.loss
"""


def test_training_needs_nothing_of_jax_that_differentiates():
    done = run(WITHOUT_JAX_AD.format(check=""))
    assert done.returncode == 0, done.stderr


def test_that_test_would_notice_jax_differentiating():
    # The reference is bound before the names are taken away, as it would be inside JAX itself.
    script = "from jax import grad\n" + WITHOUT_JAX_AD.format(check="grad(lambda x: x * x)(1.0)")
    assert "JAX was asked to differentiate" in run(script).stderr


def test_importing_the_package_imports_none_of_the_large_ones():
    done = run(
        "import sys, chainrule\n"
        "large = ('jax', 'jaxlib', 'sklearn', 'polars', 'torch', 'scipy', 'rich')\n"
        "print([name for name in large if name in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def parsed():
    """Every file of the package, by its path below it."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE), ast.parse(path.read_text(encoding="utf-8"))


def test_no_function_has_more_than_forty_lines_without_its_arguments_and_its_docstring():
    long = []
    for path, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body and node.end_lineno - body[0].lineno >= 40:
                    long.append(f"{path}: {node.name}")
    assert long == []


def test_no_file_imports_a_private_name_of_another():
    found = [
        f"{path}: {node.module}.{alias.name}"
        for path, tree in parsed()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chainrule")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert found == []


def test_no_files_import_each_other_in_a_circle():
    """Not in functions either; what is imported for types alone does not count."""
    graph = grimp.build_graph("chainrule", exclude_type_checking_imports=True, cache_dir=None)
    circles = [
        f"{file} → {other} → … → {file}"
        for file in sorted(graph.modules)
        for other in graph.find_modules_directly_imported_by(file)
        if graph.chain_exists(importer=other, imported=file)
    ]
    assert circles == []


def test_files_are_written_by_one_module():
    """Which makes them whole, exclusively, and through no link."""
    ways = re.compile(
        r"\.write_text\(|\.write_bytes\(|open\([^)\n]*[\"'][wax]b?[\"']|savefig\([^)\n]*path|np\.savez?\("
    )
    exempt = {"files.py", "machine.py"}  # the second one tells Linux to count memory anew
    found = [
        f"{path.name}: {line.strip()}"
        for folder in (SOURCE, SOURCE.parent / "benchmarks")
        for path in folder.rglob("*.py")
        if path.name not in exempt
        for line in path.read_text(encoding="utf-8").splitlines()
        if ways.search(line) and "hint" not in line and "os.fdopen(os.dup(" not in line
    ]
    assert found == []
