"""Bad input of every kind: exit code 2, one line per problem, all at once, no traceback."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import hwmodels.tiers
from studies.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaints(capsys, *arguments):
    """What a command complains of on stderr that must end with exit code 2 and an empty stdout."""
    assert main([str(argument) for argument in arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "Traceback" not in output.err
    return output.err.splitlines()


NO_CHIP = "--chip: flash.q_outer runs on a chip: name one; for example --chip h100; see `attnflow list chips`"
UNKNOWN_FIDELITY = "--memory: must be 'peak', 'analytic' or 'cycle' (got 'cycl'); did you mean 'cycle'?"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sdpa.naiv"], ["ALGORITHM: no algorithm is called 'sdpa.naiv'; did you mean 'sdpa.naive'?"]),
        (["sdpa.naive", "--seq-len", "0"], ["--seq-len: must be at least 1 (got 0)"]),
        (
            ["sdpa.naive", "--workload", "llama3-8"],
            ["--workload: unknown workload 'llama3-8'; did you mean 'llama3-8b'?"],
        ),
        (["sdpa.naive", "--workload", "no/file.yaml"], ["--workload: no such file: no/file.yaml"]),
        (["sdpa.naive", "--heads", "3", "--kv-heads", "2"], ["--kv-heads: must divide heads = 3 (got 2)"]),
        (["sdpa.naive", "--engine", "simpi"], ["--engine: unknown engine 'simpi'; did you mean 'simpy'?"]),
        (
            ["sdpa.naive", "--granularity", "col"],
            ["--granularity: must be 'row' or 'scalar' (got 'col'); known: row, scalar"],
        ),
        (["sdpa.naive", "--set", "depth"], ["--set: must be NAME=VALUE (got 'depth')"]),
        (
            ["sdpa.naive", "--set", "workload.maks=full"],
            ["--set workload.maks: unknown knob of a workload; did you mean 'mask'?"],
        ),
        (["sdpa.naive", "--set", "granularity=4"], ["--set granularity: must be 'row' or 'scalar' (got 4)"]),
        (["sdpa.naive", "--seed", "-1"], ["--seed: must be at least 0 (got -1)"]),
        (
            ["sdpa.naive", "--hads", "2"],
            ["No such option: --hads (Possible options: --head-dim, --heads, --kv-heads); see --help"],
        ),
        (
            ["sdpa.naive", "--heads", "two"],
            ["Invalid value for '--heads': must be a whole number; see --help"],
        ),
        (
            ["sdpa.naive", "--seq-len", "1e3"],
            ["Invalid value for '--seq-len': must be a whole number; did you mean '1000'?; see --help"],
        ),
        (
            ["sdpa.naive", "--seq-len=2e2", "--heads", "3"],
            ["Invalid value for '--seq-len': must be a whole number; did you mean '200'?; see --help"],
        ),
        (
            ["flash.q_outer", "--chip", "h100", "--workload", "llama3-8b", "--kernel", "zz"],
            ["--kernel: unknown kernel profile 'zz'; see `attnflow list kernels`"],
        ),
        (
            ["flash.q_outer", "--chip", "h100", "--workload", "llama3-8b", "--kernel", "fa9"],
            [
                "--kernel: unknown kernel profile 'fa9'; known of fa: fa1_ampere, fa2_ampere, fa2_decode_ampere, "
                "fa2_decode_hopper, fa2_h20, fa2_hopper, fa2_training_ampere, fa3_decode_hopper, fa3_hopper"
            ],
        ),
        ([], ["Missing argument 'ALGORITHM'; see --help"]),
        (
            [
                "sdpa.naive",
                "--heads",
                "0",
                "--workload",
                "llama",
                "--tensors",
                "none.npz",
                "--engine",
                "fast",
                "--set",
                "x",
            ],
            [
                "--workload: unknown workload 'llama'; did you mean 'llama2-7b' or 'llama3-8b'?",
                "--tensors: neither a file nor a shipped capture: none.npz; known: minilm_l6_layer3",
                "--engine: unknown engine 'fast'; known: compiled, simpy",
                "--heads: must be at least 1 (got 0)",
                "--set: must be NAME=VALUE (got 'x')",
            ],
        ),
        (
            ["flash.q_outer", "--chip", "h10", "--memory", "cycl", "--mapping", "x", "--kernel", "fa3_hoper"],
            [
                "--kernel: unknown kernel profile 'fa3_hoper'; did you mean 'fa3_hopper'?",
                "--chip: unknown chip 'h10'; did you mean 'h100'?",
                "--mapping: must be 'symmetric' or 'exact' (got 'x'); known: exact, symmetric",
                UNKNOWN_FIDELITY,
            ],
        ),
        (
            ["flash.q_oute", "--chip", "h100", "--memory", "cycl", "--set", "chip.corse=3"],
            [
                "ALGORITHM: no algorithm is called 'flash.q_oute'; did you mean 'flash.q_outer'?",
                UNKNOWN_FIDELITY,
                "--set chip.corse: h100_sxm5_80g has no such field; did you mean 'cores'?",
            ],
        ),
        (["flash.q_outer", "--memory", "cycl"], [NO_CHIP, UNKNOWN_FIDELITY]),
        (
            ["sdpa.naive", "--seq-len", "99999999999999", "--batch", "0"],
            [
                "--seq-len: must be at most 1000000000000 (got 99999999999999)",
                "--batch: must be at least 1 (got 0)",
            ],
        ),
        (
            ["sdpa.naive", "--seq-len", "100000", "--heads", "2"],
            [
                "20,000,000,000 scores are too many to compute values of, at most 268,435,456; "
                "time alone needs none: set timing_only"
            ],
        ),
        (
            ["sdpa.naive", "--seq-len", "64", "--head-dim", "99999999999"],
            [
                "19,199,999,999,808 elements of q, k, v are too many to compute values of, at most 268,435,456; "
                "time alone needs none: set timing_only"
            ],
        ),
        (
            ["sdpa.memory_free", "--seq-len", "10000000000", "--timing-only"],
            [
                "graph sdpa.memory_free: 800,000,000,030,000,000,000 firings that take up to "
                "3,300,000,000,110,000,000,000 cycles one after another are too large: "
                "a number of cycles might not fit into 64 bits"
            ],
        ),
        (["sdpa.naive", "--set", "fifo_depth=0"], ["--set fifo_depth: must be at least 1 (got 0)"]),
    ],
)
def test_options(here, capsys, arguments, expected):
    assert complaints(capsys, "run", *arguments, "--json") == expected


def test_an_unknown_parameter_gets_the_nearest_name(here, capsys):
    (line,) = complaints(capsys, "run", "sdpa.naive", "--set", "granlarity=row")
    assert line == "--set granlarity: unknown parameter of sdpa.naive; did you mean 'granularity'?"


def test_options_of_other_verbs_are_refused_in_plain_words(here, capsys):
    assert complaints(capsys, "search", "s.yaml", "-n", "0") == [
        "Invalid value for '--evaluations' / '-n': must be at least 1; see --help"
    ]
    assert complaints(capsys, "compare", "a", "b", "--tolerance", "x") == [
        "Invalid value for '--tolerance': must be a number; see --help"
    ]


def test_an_unknown_verb_gets_the_nearest_name(here, capsys):
    (line,) = complaints(capsys, "swep")
    assert "did you mean 'sweep'" in line.lower()


# --- tensors ------------------------------------------------------------

GOOD = np.ones((2, 8, 4))


def spoiled(value):
    tensor = GOOD.copy()
    tensor[1, 3, 2] = value
    return tensor


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"q": GOOD, "k": GOOD}, "has no array 'v'"),
        (
            {"q": GOOD, "k": GOOD, "v": spoiled(np.nan)},
            "v: holds 1 values that are not finite, the first at (0, 1, 3, 2)",
        ),
        ({"q": spoiled(np.inf), "k": GOOD, "v": GOOD}, "q: holds 1 values that are not finite"),
        ({"q": GOOD[0, 0], "k": GOOD, "v": GOOD}, "q: must have 2 to 4 axes"),
        ({"q": GOOD, "k": GOOD[:, :, :3], "v": GOOD}, "q and k differ in head dimension: 4 and 3"),
        ({"q": GOOD, "k": GOOD, "v": GOOD[:, :5]}, "k and v differ in (kv_heads, length): (2, 8) and (2, 5)"),
        ({"q": np.ones((3, 8, 4)), "k": GOOD, "v": GOOD}, "3 query heads cannot be grouped over 2 KV heads"),
        ({"q": GOOD.astype(str), "k": GOOD, "v": GOOD}, "q: must hold real numbers"),
        ({"q": GOOD[:, :0], "k": GOOD, "v": GOOD}, "q: is empty"),
    ],
)
def test_tensors(here, capsys, arrays, expected):
    np.savez("t.npz", **arrays)
    lines = complaints(capsys, "run", "sdpa.naive", "--tensors", "t.npz")
    assert len(lines) == 1
    assert lines[0].startswith("t.npz: ")
    assert expected in lines[0]


def test_tensors_that_are_no_archive(here, capsys):
    (here / "t.npz").write_bytes(b"not a zip file")
    (line,) = complaints(capsys, "run", "sdpa.naive", "--tensors", "t.npz")
    assert line.startswith("t.npz: cannot be read as an .npz archive")
    np.savez("t.npz", q=np.array([{}], dtype=object), k=GOOD, v=GOOD)
    assert complaints(capsys, "run", "sdpa.naive", "--tensors", "t.npz")


def test_options_that_contradict_the_tensors(here, capsys):
    np.savez("t.npz", q=GOOD, k=GOOD, v=GOOD)
    assert complaints(capsys, "run", "sdpa.naive", "--tensors", "t.npz", "--heads", "4", "--seq-len", "9") == [
        "t.npz: seq_len: the tensors have 8 (got 9)",
        "t.npz: heads: the tensors have 2 (got 4)",
    ]


# --- study files ------------------------------------------------------------

STUDIES = {
    "unknown key": (
        "algoritm: sdpa.naive\nalgorithm: sdpa.naive\n",
        ["1: algoritm: unknown key; did you mean 'algorithm'?"],
    ),
    "no algorithm": ("name: x\n", ["1: algorithm: required key is missing (here or as an axis)"]),
    "unknown algorithm": (
        "algorithm: sdpa.naiv\n",
        ["1: algorithm: no algorithm is called 'sdpa.naiv'; did you mean 'sdpa.naive'?"],
    ),
    "unknown workload": (
        "algorithm: sdpa.naive\nworkload: llama3-8\n",
        ["2: workload: unknown workload 'llama3-8'; did you mean 'llama3-8b'?"],
    ),
    "missing workload file": (
        "algorithm: sdpa.naive\nworkload: w.yaml\n",
        ["2: workload: no such file: w.yaml"],
    ),
    "missing tensors": (
        "algorithm: sdpa.naive\ntensors: t.npz\n",
        ["2: tensors: neither a file nor a shipped capture: t.npz; known: minilm_l6_layer3"],
    ),
    "bad knob": (
        "algorithm: sdpa.naive\nworkload: {heads: 0}\n",
        ["2: workload.heads: must be at least 1 (got 0)"],
    ),
    "bad type": (
        "algorithm: sdpa.naive\nworkload:\n  heads: many\n",
        ["3: workload.heads: must be a whole number (got 'many')"],
    ),
    "true is no number": (
        "algorithm: sdpa.naive\nworkload: {heads: true}\n",
        ["2: workload.heads: must be a whole number (got true)"],
    ),
    "parameters of policies on an axis": (
        "algorithm: decode.policy\nchip: h100\nworkload: {preset: llama3-8b, phase: decode, q_len: 1}\n"
        "axes:\n  policy:\n    - full\n    - window(tokens=-3)\n    - h20\n",
        [
            "7: axes.policy[1]: window.tokens: must be at least 1 (got -3)",
            "8: axes.policy[2]: unknown KV policy 'h20'; did you mean 'h2o'?",
        ],
    ),
    "a policy that is no axis": (
        "algorithm: decode.policy\nchip: h100\nworkload: {preset: llama3-8b, phase: decode, q_len: 1}\n"
        "parameters:\n  policy: h20\n",
        ["5: parameters.policy: unknown KV policy 'h20'; did you mean 'h2o'?"],
    ),
    "unfit combination": (
        "algorithm: sdpa.naive\nworkload: {heads: 4}\naxes:\n  workload.kv_heads: [1, 2, 3]\n",
        ["4: axes.workload.kv_heads[2]: must divide heads = 4 (got 3)"],
    ),
    "unknown parameter": (
        "algorithm: sdpa.naive\nparameters: {granlarity: row}\n",
        ["2: parameters.granlarity: unknown parameter of sdpa.naive; did you mean 'granularity'?"],
    ),
    "unknown axis": (
        "algorithm: sdpa.naive\naxes:\n  workload.kv_len: [1]\n  kv_lenn: [1, 2]\n",
        ["4: axes.kv_lenn: unknown axis; did you mean 'kv_len'?"],
    ),
    "bad axis value": (
        "algorithm: sdpa.naive\naxes: {granularity: [row, rov]}\n",
        ["2: axes.granularity[1]: must be 'row' or 'scalar' (got 'rov'); did you mean 'row'?"],
    ),
    "repeated value": ("algorithm: sdpa.naive\nseeds: [1, 2, 1]\n", ["2: seeds[2]: value 1 is there twice"]),
    "empty axis": (
        "algorithm: sdpa.naive\naxes: {q_len: []}\n",
        ["2: axes.q_len: must not be empty"],
    ),
    "range without step": (
        "algorithm: sdpa.naive\naxes:\n  q_len: {from: 1, to: 2}\n",
        ["3: axes.q_len: a range needs either 'step' or 'factor'"],
    ),
    "endless range": (
        "algorithm: sdpa.naive\naxes:\n  q_len: {from: 1, to: 1e9, step: 1}\n",
        ["3: axes.q_len: has 1e+09 values, more than 100000"],
    ),
    "unknown metric": (
        "algorithm: sdpa.naive\nobjectives: [cycle]\nconstraints: [fifo.capacity_byte <= 8 KiB]\n",
        [
            "2: objectives[0]: no metric is called 'cycle'; did you mean 'cycles'?",
            "3: constraints[0]: no metric is called 'fifo.capacity_byte'; did you mean 'fifo.capacity_bytes'?",
        ],
    ),
    "objective without direction": (
        "algorithm: sdpa.naive\nobjectives: [firings]\n",
        ["2: objectives[0]: firings is not better in either direction: write it as 'firings: min' or 'firings: max'"],
    ),
    "constraints that are none": (
        "algorithm: sdpa.naive\nconstraints:\n  - cycles\n  - cycles <= fast\n  - seconds <= 2 GB\n",
        [
            "3: constraints[0]: must be METRIC <= VALUE, or with <, >= or > (got 'cycles')",
            "4: constraints[1]: must be a number (got 'fast')",
            "5: constraints[2]: must be a quantity in s such as '30 ns' (got '2 GB')",
        ],
    ),
    "conditions on nothing": (
        "algorithm: sdpa.naive\naxes:\n  long_depth: {values: [1, 2], when: {mask: full}}\n  mask: [full, causal]\n"
        "  exp_lanes: {values: [1, 2], when: {mask: [ful]}}\n  div_lanes: {values: [1], when: {exp_lanes: 4}}\n",
        [
            "3: axes.long_depth.when.mask: must be an axis that comes before",
            "5: axes.exp_lanes.when.mask: must be 'full' or 'causal' (got 'ful'); did you mean 'full'?",
            "6: axes.div_lanes.when.exp_lanes: axis 'exp_lanes' does not have the value 4; known: 1, 2",
        ],
    ),
    "bad engine": (
        "algorithm: sdpa.naive\nengine: simpi\n",
        ["2: engine: must be 'compiled' or 'simpy' (got 'simpi'); did you mean 'simpy'?"],
    ),
    "wrong unit": (
        "algorithm: sdpa.naive\nclock: 1 GB\n",
        ["2: clock: must be a quantity in Hz such as '1.755 GHz' (got '1 GB')"],
    ),
    "wrong unit on an axis": (
        "algorithm: sdpa.naive\naxes: {clock: [1 GHz, 2 GHZ]}\n",
        ["2: axes.clock[1]: must be a quantity in Hz such as '1.755 GHz' (got '2 GHZ'); did you mean '2 GHz'?"],
    ),
    "syntax": ("algorithm: [sdpa.naive\n", ["2: YAML syntax: expected ',' or ']', but got '<stream end>'"]),
    "a list": ("- sdpa.naive\n", ["1: must be a mapping (got a list)"]),
}


@pytest.mark.parametrize(("text", "expected"), STUDIES.values(), ids=STUDIES)
def test_study_files(here, capsys, text, expected):
    (here / "s.yaml").write_text(text)
    lines = [f"s.yaml:{line}" for line in expected]
    assert complaints(capsys, "config", "check", "s.yaml") == lines
    assert complaints(capsys, "sweep", "s.yaml", "--json") == lines
    assert not (here / "out").exists()


def test_a_grid_that_is_too_large_for_a_sweep_is_none_for_a_search(here, capsys):
    (here / "s.yaml").write_text(
        "algorithm: sdpa.naive\naxes:\n  q_len: {from: 1, to: 1000, step: 1}\n  seed: {from: 0, to: 5999, step: 1}\n"
    )
    assert complaints(capsys, "sweep", "s.yaml", "--json") == [
        "the grid of s has 6,000,000 points, more than 5,000,000: thin its axes, or let `attnflow search` choose"
    ]
    assert not (here / "out").exists()
    assert main(["config", "check", "s.yaml"]) == 0
    assert "6,000,000 points; too many for a sweep, but not for a search" in capsys.readouterr().out


def test_all_problems_of_a_study_file_come_at_once(here, capsys):
    np.savez("t.npz", q=GOOD, k=GOOD, v=spoiled(np.nan))
    (here / "s.yaml").write_text(
        textwrap.dedent(
            """\
            nme: everything wrong
            algorithm: sdpa.naive
            workload: {preset: llama3-8, heds: 3, kv_len: 0}
            parameters:
              granularity: rov
            axes:
              workload.q_len: {from: 1, to: 8, fctor: 2}
              bar: [1]
            engine: fast
            tensors: t.npz
            """
        )
    )
    assert complaints(capsys, "sweep", "s.yaml") == [
        "t.npz: v: holds 1 values that are not finite, the first at (0, 1, 3, 2)",
        "s.yaml:1: nme: unknown key; did you mean 'name'?",
        "s.yaml:3: workload.preset: unknown workload 'llama3-8'; did you mean 'llama3-8b'?",
        "s.yaml:3: workload.heds: unknown knob of a workload; did you mean 'heads'?",
        "s.yaml:3: workload.kv_len: must be at least 1 (got 0)",
        "s.yaml:5: parameters.granularity: must be 'row' or 'scalar' (got 'rov'); did you mean 'row'?",
        "s.yaml:7: axes.workload.q_len.fctor: unknown key; did you mean 'factor'?",
        "s.yaml:8: axes.bar: unknown axis",
        "s.yaml:9: engine: must be 'compiled' or 'simpy' (got 'fast'); known: compiled, simpy",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sweep", "none.yaml"], "none.yaml: no such file"),
        (["config", "show", "."], ".: is a folder, expected a YAML file"),
        (["report", "none.sqlite"], "none.sqlite: no such store"),
        (["show", "workload", "llama3-8"], "unknown workload 'llama3-8'; did you mean 'llama3-8b'?"),
        (
            ["show", "algorithm", "sdpa.naiv"],
            "algorithm: no algorithm is called 'sdpa.naiv'; did you mean 'sdpa.naive'?",
        ),
        (
            ["show", "sdpa.naive"],
            "Invalid value for 'kind': 'sdpa.naive' is not one of 'algorithm', 'workload', 'chip', 'tier', 'model', "
            "'system'; see --help",
        ),
        (["bench", "nothing-like-it"], "unknown benchmark 'nothing-like-it'; known: decode-step, dram_hbm2, "),
        (
            ["advise", "depths", "sdpa.naiv"],
            "ALGORITHM: no algorithm is called 'sdpa.naiv'; did you mean 'sdpa.naive'?",
        ),
    ],
)
def test_other_commands(here, capsys, arguments, expected):
    (line,) = complaints(capsys, *arguments)
    assert line.startswith(expected)


@pytest.mark.parametrize("arguments", [["run", "sdpa.naive", "--seq-len", "0"], ["sweep", "none.yaml"]])
def test_in_a_process_of_its_own(here, arguments):
    done = subprocess.run([sys.executable, "-m", "studies", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    # on a busy computer a command lasts until it says so
    assert len([line for line in done.stderr.splitlines() if not line.endswith(" s so far")]) == 1


TOO_LONG = "a" * 400
NO_NAME = f"{TOO_LONG} cannot be read: File name too long"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "sdpa.naive", "--tensors", TOO_LONG], NO_NAME),
        (["run", "sdpa.naive", "--workload", f"{TOO_LONG}.yaml"], f"{TOO_LONG}.yaml cannot be"),
        (["config", "check", "tensors.yaml"], f"tensors.yaml:3: tensors: {NO_NAME}"),
        (["show", "tier", "./tier.yaml"], f"/{NO_NAME}"),
        (["report", TOO_LONG], NO_NAME),
        (["view", TOO_LONG], NO_NAME),
        (["compare", f"{TOO_LONG}.sqlite:1", f"{TOO_LONG}.sqlite:2"], f"{TOO_LONG}.sqlite:2 cannot be"),
        (["validate", "models", "--tables", TOO_LONG], NO_NAME),
        (["validate", "measured", "--tables", TOO_LONG], NO_NAME),
        (["sweep", "sound.yaml", "--store", f"{TOO_LONG}.sqlite"], f"{TOO_LONG}.sqlite: cannot be written"),
    ],
)
def test_names_that_no_file_can_have(here, capsys, arguments, expected):
    (here / "sound.yaml").write_text("name: n\nalgorithm: sdpa.naive\naxes: {seq_len: [8]}\n")
    (here / "tensors.yaml").write_text(f"name: n\nalgorithm: sdpa.naive\ntensors: {TOO_LONG}\naxes: {{seq_len: [8]}}\n")
    shipped = (Path(hwmodels.tiers.__file__).parent / "presets" / "ddr4_3200_group_low.yaml").read_text()
    (here / "tier.yaml").write_text(shipped.replace("standard: ddr4_3200\n", f"standard: {here}/{TOO_LONG}\n"))
    complained = complaints(capsys, *arguments)
    assert expected in complained[-1]  # after what some verbs say they read
