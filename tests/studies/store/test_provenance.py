import json
import subprocess

from studies.store import provenance as module
from studies.store.provenance import code_state, provenance


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_it_names_versions_host_and_configuration():
    record = provenance({"name": "study"})
    assert record["configuration"] == {"name": "study"}
    assert record["versions"]["numpy"] is not None
    assert record["host"]
    json.dumps(record, allow_nan=False)


def test_uncommitted_changes_show_in_the_hash(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    assert provenance(None)["commit"] is None
    (tmp_path / "a.py").write_text("1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-qm", "first")
    clean = provenance(None)
    assert len(clean["commit"]) == 40
    assert clean["dirty_sha256"] is None
    states = [code_state(clean)]
    for name, text in (("a.py", "2\n"), ("new.py", "3\n"), ("new.py", "4\n")):
        (tmp_path / name).write_text(text)
        states.append(code_state(provenance(None)))
    assert len(set(states)) == 4
    assert states[0] == clean["commit"][:12]
    assert all(state.startswith(f"{states[0]}+") for state in states[1:])


def test_without_a_checkout_the_version_says_what_ran():
    assert code_state({"commit": None, "versions": {"attnflow": "0.1.0"}}) == "version 0.1.0"
    assert code_state({}) == "unknown"
