"""A lab or a peer is added by adding a file."""

import sys
from importlib import import_module

import pytest

from chainrule import discovery


def test_a_file_is_found_by_its_name_and_not_imported(tmp_path, monkeypatch):
    (tmp_path / "things").mkdir()
    for name in ("__init__", "one_thing", "another"):
        (tmp_path / "things" / f"{name}.py").write_text("" if name == "__init__" else "import there_is_no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    found = discovery.modules(import_module("things"))
    monkeypatch.delitem(sys.modules, "things")
    assert found == {"another": "things.another", "one-thing": "things.one_thing"}


@pytest.mark.parametrize("package", ["chainrule.lab.claims", "chainrule.bench.peers"])
def test_what_ships_is_found_by_it(package):
    assert len(discovery.modules(import_module(package))) >= 10
