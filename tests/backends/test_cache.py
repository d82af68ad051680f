import os
import sys
from pathlib import Path

import pytest

from chainrule.backends import cache


@pytest.fixture
def home(monkeypatch, tmp_path):
    for name in (cache.SWITCH, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("system", "place"),
    [("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local"), ("freebsd14", ".cache")],
)
def test_each_system_has_its_place_for_what_can_be_made_again(home, monkeypatch, system, place):
    monkeypatch.setattr(sys, "platform", system)
    assert cache.folder() == home / place / "chainrule"


def test_the_place_that_the_user_has_set_for_all_programs_is_used(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache.folder() == Path("/elsewhere/chainrule")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache.folder() == home / ".cache" / "chainrule"


def test_the_environment_variable_names_another_folder(home, monkeypatch):
    monkeypatch.setenv(cache.SWITCH, "/scratch/me")
    assert cache.folder() == Path("/scratch/me")
    monkeypatch.setenv(cache.SWITCH, "~/kept")
    assert cache.folder() == home / "kept"


@pytest.mark.parametrize("word", ["off", "OFF", "no", "0", "false"])
def test_the_environment_variable_switches_keeping_off(monkeypatch, word):
    monkeypatch.setenv(cache.SWITCH, word)
    assert cache.folder() is None


def test_a_user_without_a_home_has_no_cache(home, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache.folder() is None


def test_a_machine_is_told_by_its_processor_and_the_cores_at_hand(monkeypatch):
    def named():
        cache.machine.cache_clear()
        return cache.machine()

    here = named()
    assert here == named()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(1000), raising=False)
    more_cores = named()
    monkeypatch.setattr(cache, "_processor", lambda: ["model name: another"])
    assert len({here, more_cores, named()}) == 3
    monkeypatch.undo()
    cache.machine.cache_clear()
