"""What a process may use is what the machine has, or what the control groups around it leave."""

import os
from types import SimpleNamespace

import psutil
import pytest

from chainrule import resources

GB = 10**9


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of 16 processors and 64 GB, and a function that writes files of its kernel."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GB))
    monkeypatch.setattr(resources, "_ROOT", tmp_path)

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def files(folder, **texts):
    """Files of one control group, by name: cpu_dot_max is cpu.max."""
    return {f"sys__fs__cgroup__{folder}{name}": str(text) for name, text in texts.items()}


def test_without_a_container_it_is_the_machines(machine):
    assert (resources.cores(), resources.available_memory()) == (16, 64 * GB)


@pytest.mark.parametrize(("quota", "cores"), [("100000", 1), ("150000", 2), ("20000", 1), ("3200000", 16), ("max", 16)])
def test_a_quota_of_processor_time_counts_as_so_many_processors(machine, quota, cores):
    machine(proc__self__cgroup="0::/\n", **files("", cpu_dot_max=f"{quota} 100000\n"))
    assert resources.cores() == cores


def test_memory_is_what_the_group_has_left_and_the_files_it_would_give_back(machine):
    machine(proc__self__cgroup="0::/\n", **files("", memory_dot_max=3 * GB, memory_dot_current=GB))
    assert resources.available_memory() == 2 * GB
    machine(**files("", memory_dot_stat=f"anon 5\ninactive_file {GB // 2}\n"))
    assert resources.available_memory() == 2 * GB + GB // 2
    machine(**files("", memory_dot_max="max"))
    assert resources.available_memory() == 64 * GB
    machine(**files("", memory_dot_max=GB, memory_dot_current=2 * GB, memory_dot_stat=""))
    assert resources.available_memory() == 0


def test_the_tightest_of_the_groups_around_it_counts(machine):
    machine(
        proc__self__cgroup="0::/slice/job\n",
        **files("slice__job__", cpu_dot_max="max 100000", memory_dot_max=8 * GB, memory_dot_current=GB),
        **files("slice__", cpu_dot_max="400000 100000", memory_dot_max=16 * GB, memory_dot_current=14 * GB),
    )
    assert (resources.cores(), resources.available_memory()) == (4, 2 * GB)


@pytest.mark.parametrize("inside", ["", "docker__1a2b__"], ids=["only the outermost folder is seen", "all are seen"])
def test_control_groups_of_version_1_count_too(machine, inside):
    quota = {"cpu_dot_cfs_quota_us": 250_000, "cpu_dot_cfs_period_us": 100_000}
    memory = {"memory_dot_limit_in_bytes": 4 * GB, "memory_dot_usage_in_bytes": 3 * GB}
    machine(
        proc__self__cgroup="4:memory:/docker/1a2b\n2:cpu,cpuacct:/docker/1a2b\n1:name=systemd:/\n",
        **files(f"cpu__{inside}", **quota),
        **files(f"memory__{inside}", **memory, memory_dot_stat="inactive_file 7\ntotal_inactive_file 1000000\n"),
    )
    assert (resources.cores(), resources.available_memory()) == (3, GB + 1_000_000)
    machine(**files(f"cpu__{inside}", cpu_dot_cfs_quota_us=-1))
    assert resources.cores() == 16


def test_what_this_process_holds_grows_with_what_it_takes():
    before = resources.resident_memory()
    taken = bytearray(b"x" * 50_000_000)
    assert resources.resident_memory() - before >= 0.9 * len(taken)
