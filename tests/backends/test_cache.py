import sys
from pathlib import Path

import platformdirs
import pytest

from chainrule import resources
from chainrule.backends import cache

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere platformdirs knows other places")


@pytest.fixture
def home(monkeypatch, tmp_path):
    for name in (cache.CACHE_VARIABLE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@LINUX
def test_it_is_in_the_users_place_for_what_can_be_made_again(home):
    assert cache.cache_folder() == home / ".cache" / "chainrule"


@LINUX
def test_the_place_that_the_user_has_set_for_all_programs_is_used(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache.cache_folder() == Path("/elsewhere/chainrule")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache.cache_folder() == home / ".cache" / "chainrule"


def test_the_environment_variable_names_another_folder(home, monkeypatch):
    monkeypatch.setenv(cache.CACHE_VARIABLE, "/scratch/me")
    assert cache.cache_folder() == Path("/scratch/me")
    monkeypatch.setenv(cache.CACHE_VARIABLE, "~/kept")
    assert cache.cache_folder() == home / "kept"


@pytest.mark.parametrize("word", ["off", "OFF", "no", "0", "false"])
def test_the_environment_variable_switches_keeping_off(monkeypatch, word):
    monkeypatch.setenv(cache.CACHE_VARIABLE, word)
    assert cache.cache_folder() is None


def test_a_user_without_a_home_has_no_cache(home, monkeypatch):
    def homeless(*_, **__):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(platformdirs, "user_cache_path", homeless)
    assert cache.cache_folder() is None
    monkeypatch.setenv(cache.CACHE_VARIABLE, "~nobody-of-this-name/kept")
    assert cache.cache_folder() is None


def test_a_machine_is_told_by_its_processor_and_the_cores_at_hand(monkeypatch):
    def named():
        cache.machine_digest.cache_clear()
        return cache.machine_digest()

    here = named()
    assert here == named()
    monkeypatch.setattr(resources, "cores", lambda: 1000)
    more_cores = named()
    monkeypatch.setattr(cache, "_processor", lambda: ["model name: another"])
    assert len({here, more_cores, named()}) == 3
    monkeypatch.undo()
    cache.machine_digest.cache_clear()
