import pytest

from hwmodels.reading.errors import InputError
from hwmodels.reading.shipped import is_file, is_folder, is_there


def test_files_and_folders_are_told_apart(tmp_path):
    file = tmp_path / "file"
    file.touch()
    asked = [(is_file(path), is_folder(path), is_there(path)) for path in (file, tmp_path, tmp_path / "none")]
    assert asked == [(True, False, True), (False, True, True), (False, False, False)]


@pytest.mark.parametrize("question", [is_file, is_folder, is_there])
def test_a_name_that_the_system_refuses_is_one_line(tmp_path, question):
    path = tmp_path / ("a" * 300)
    with pytest.raises(InputError) as refused:
        question(path)
    assert str(refused.value) == f"{path} cannot be read: File name too long"
