"""Where compiled kernels go when the user's cache folder cannot be written: never where others can put code."""

import os
import stat

import pytest

from simulator.servers import kernel


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_folder_is_of_this_user_alone_and_the_same_every_time(temporary):
    folder = kernel._private_folder()
    assert folder == kernel._private_folder() == temporary / f"attnflow-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("taken_by", ["file", "link", "open folder"])
def test_a_name_that_is_taken_is_left_alone(temporary, taken_by):
    name = temporary / f"attnflow-{os.getuid()}"
    if taken_by == "file":
        name.write_text("")
    elif taken_by == "link":
        (temporary / "other").mkdir()
        name.symlink_to(temporary / "other")
    else:
        name.mkdir()
        name.chmod(0o777)
    folder = kernel._private_folder()
    assert folder.parent == temporary
    assert folder != name
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.fixture
def asked_for(tmp_path, monkeypatch):
    """The folder of the engines in a cache that was asked for, and nothing remembered of an earlier choice."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(kernel.tempfile, "tempdir", str(tmp_path))
    for cached in (kernel._cache_root, kernel.cache_folder):
        cached.cache_clear()
    yield tmp_path / "cache" / "attnflow"
    for cached in (kernel._cache_root, kernel.cache_folder):
        cached.cache_clear()


def test_a_new_cache_is_of_this_user_alone(asked_for):
    folder = kernel.cache_folder("engines")
    assert folder.parent == asked_for
    assert stat.S_IMODE(asked_for.stat().st_mode) == stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "NUMBA_CACHE_DIR"])
@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_nothing_is_read_from_a_cache_that_others_can_write_to(asked_for, monkeypatch, variable, mode):
    monkeypatch.setenv(variable, str(asked_for.parent))
    asked_for.mkdir(parents=True)
    asked_for.chmod(mode)
    assert not kernel.cache_folder("engines").is_relative_to(asked_for)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_nothing_is_read_from_a_cache_of_somebody_else(asked_for):
    asked_for.mkdir(parents=True)
    os.chown(asked_for, 12345, 12345)
    assert not kernel.cache_folder("engines").is_relative_to(asked_for)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_what_somebody_else_left_in_a_cache_is_not_read(asked_for):
    folder = kernel.cache_folder("engines")
    (folder / "planted.nbi").write_bytes(b"")
    os.chown(folder / "planted.nbi", 12345, 12345)
    kernel.cache_folder.cache_clear()
    assert not kernel.cache_folder("engines").is_relative_to(asked_for)
