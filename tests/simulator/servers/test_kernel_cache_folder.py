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
