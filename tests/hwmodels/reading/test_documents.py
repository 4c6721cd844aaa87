import textwrap
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from hwmodels.reading.documents import LARGEST_FILE_BYTES, dotted, read_document, read_text
from hwmodels.reading.errors import InputError
from hwmodels.reading.quantity import Bytes


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Tier(_Strict):
    name: str
    capacity: Bytes = Field(gt=0)
    page: Literal["open", "closed"] = "open"


class _Chip(_Strict):
    name: str
    clock_mhz: int | float = 1000
    tiers: list[_Tier] = []
    links: dict[str, _Tier] = {}
    extra_tier: _Tier | str | None = None


def _complaints(text, model=_Chip):
    with pytest.raises(InputError) as caught:
        read_text(textwrap.dedent(text), "chip.yaml").validate(model)
    return str(caught.value).splitlines()


def test_a_document_becomes_a_frozen_model(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_text("name: c\nclock_mhz: 1e3\ntiers:\n  - {name: sram, capacity: 64 KiB}\n", encoding="utf-8")
    chip = read_document(path).validate(_Chip)
    assert chip.tiers[0].capacity == 65536
    assert chip.clock_mhz == 1000


def test_yaml_is_1_2_so_no_is_text_and_a_time_is_text():
    data = read_text("a: no\nb: 1e9\nc: 12:30:45\nd: 2020-01-01\ne: 0x10\nf: ~\ng: true\nh: '5'\n", "t").data
    assert data == {
        "a": "no",
        "b": 1e9,
        "c": "12:30:45",
        "d": "2020-01-01",
        "e": 16,
        "f": None,
        "g": True,
        "h": "5",
    }


def test_every_problem_is_reported_at_once_in_order_of_lines():
    assert _complaints(
        """\
        name: c
        clok_mhz: 5
        tiers:
          - name: sram
            capacity: 64 KB
          - name: hbm
            capacity: -1 B
            page: opn
          - capcity: 1 B
        links:
          left: {name: l, capacity: 0}
        name: d
        """
    ) == [
        "chip.yaml:2: clok_mhz: unknown key; did you mean 'clock_mhz'?",
        "chip.yaml:5: tiers[0].capacity: must be a quantity in B such as '64 KiB' (got '64 KB'); "
        "write '64 kB' (1000) or '64 KiB' (1024)",
        "chip.yaml:7: tiers[1].capacity: must be greater than 0 (got '-1 B')",
        "chip.yaml:8: tiers[1].page: must be 'open' or 'closed' (got 'opn'); did you mean 'open'?",
        "chip.yaml:9: tiers[2].name: required key is missing",
        "chip.yaml:9: tiers[2].capacity: required key is missing",
        "chip.yaml:9: tiers[2].capcity: unknown key; did you mean 'capacity'?",
        "chip.yaml:11: links.left.capacity: must be greater than 0 (got 0)",
        "chip.yaml:12: name: duplicate key (first on line 1)",
    ]


def test_a_union_complains_once_per_place():
    lines = _complaints("name: c\nclock_mhz: fast\n")
    assert len(lines) == 1
    assert lines[0].startswith("chip.yaml:2: clock_mhz: must be a whole number")
    assert ", or must be a number" in lines[0]


def test_unknown_keys_inside_a_union_member_find_their_nearest_match():
    lines = _complaints("name: c\nextra_tier:\n  name: t\n  capacity: 1 B\n  pge: open\n")
    assert any(line.startswith("chip.yaml:5: extra_tier.pge: unknown key; did you mean 'page'?") for line in lines)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "chip.yaml: is empty"),
        ("# nothing\n", "chip.yaml: is empty"),
        ("name: [1, 2\nb: 3\n", "chip.yaml:2: YAML syntax: expected ',' or ']', but got ':'"),
        ("name: c\n---\nname: d\n", "chip.yaml:3: holds several YAML documents, expected one"),
        ("name: !!python/object:os.system x\n", "chip.yaml:1: name: YAML tag"),
        ("name: &a [*a]\n", "chip.yaml:1: an alias refers to the value that contains it"),
        ("- 1\n- 2\n", "chip.yaml:1: must be a mapping (got a list)"),
        ("1: a\nname: c\n", "chip.yaml:1: a key must be text (got 1)"),
        ("[a, b]: a\nname: c\n", "chip.yaml:1: a key must be text (got a list or mapping)"),
        ("name: c\nclock_mhz: 1\ttab\x00", "chip.yaml: YAML syntax"),
        ("a: " + "[" * 5000, "chip.yaml:1: nested deeper than 64 levels"),
        ("a: " + "[" * 100 + "]" * 100, "chip.yaml:1: nested deeper than 64 levels"),
    ],
)
def test_text_that_is_no_proper_document_gets_one_clear_line(text, line):
    lines = _complaints(text)
    assert len(lines) == 1
    assert lines[0].startswith(line)


def test_an_alias_bomb_is_refused_quickly():
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (line,) = _complaints("\n".join(rows))
    assert "values once its aliases are expanded" in line


def test_escaped_characters_beyond_16_bit_are_read_as_json_writes_them():
    assert read_text('"\\ud83d\\ude00": "\\ud83d\\ude00!"\n', "t").data == {"\U0001f600": "\U0001f600!"}
    assert _complaints('name: "a\\ud800"\n') == ["chip.yaml:1: name: half of a surrogate pair is no character"]


def test_plain_aliases_are_read():
    assert read_text("a: &x {k: 1}\nb: *x\n", "t").data == {"a": {"k": 1}, "b": {"k": 1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"a: 1\n" + b"#" * LARGEST_FILE_BYTES, "larger than 1048576 bytes"),
    ],
)
def test_unreadable_files_get_one_clear_line(tmp_path, content, message):
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_document(path).validate(_Chip)
    assert str(caught.value).startswith(str(path))
    with pytest.raises(InputError, match="is a folder"):
        read_document(tmp_path).validate(_Chip)


def test_a_problem_found_later_still_gets_its_line():
    document = read_text("name: c\ntiers:\n  - {name: t}\n", "chip.yaml")
    assert str(document.problem(("tiers", 0, "name"), "bad")) == "chip.yaml:3: tiers[0].name: bad"
    assert str(document.problem(("tiers", 0, "gone"), "bad")) == "chip.yaml:3: tiers[0].gone: bad"
    assert str(document.problem((), "bad")) == "chip.yaml:1: bad"


def test_dotted_paths():
    assert dotted(("tiers", 1, "capacity")) == "tiers[1].capacity"
    assert dotted((0, "a")) == "[0].a"
    assert dotted(()) == ""


def test_the_sound_part_of_a_faulty_document_can_still_be_looked_at():
    document = read_text(
        "name: c\nclok: 1\nclock_mhz: fast\nlinks:\n  left: {name: l, capacity: 1 B}\n  right: {name: r}\n",
        "t",
    )
    chip, problems = document.validate_partly(_Chip)
    assert len(problems) == 3
    assert chip is not None
    assert list(chip.links) == ["left"]
    assert chip.clock_mhz == 1000
    chip, problems = read_text("name: c\nlinks:\n  left: {name: l, capcity: 1 B}\n", "t").validate_partly(_Chip)
    assert len(problems) == 2
    assert chip is not None
    assert chip.links == {}
    chip, problems = read_text("tiers: []\nclok: 1\n", "t").validate_partly(_Chip)
    assert chip is None
    assert len(problems) == 2
