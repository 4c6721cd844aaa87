"""SLURM for tests, as one program with three names: jobs are processes of this computer, their state a folder.

``sbatch`` starts the script that it reads, ``squeue`` lists what still runs, ``scancel`` ends it. The environment says
what goes wrong: FAKE_SLURM_REFUSES with a text, FAKE_SLURM_WAITS with the reason why no job ever starts.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ.get("FAKE_SLURM", "."))


def sbatch(arguments):
    if reason := os.environ.get("FAKE_SLURM_REFUSES"):
        sys.exit(f"sbatch: error: {reason}\nsbatch: error: Batch job submission failed")
    script = sys.stdin.read()
    number = str(100 + len(list(FOLDER.glob("*.job"))))
    process = 0
    if "FAKE_SLURM_WAITS" not in os.environ:
        logs = {kind: re.search(rf"#SBATCH -{kind} (\S+)", script)[1].replace("%J", number) for kind in "eo"}
        with Path(logs["e"]).open("w") as errors, Path(logs["o"]).open("w") as output:
            shell = subprocess.Popen(
                ["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
            )
        process = shell.pid
    write(number, process)
    sys.stdout.write(f"{number};cluster\n")


def squeue(arguments):
    for number, process in jobs():
        if process == 0:
            sys.stdout.write(f"{number}|PENDING|{os.environ['FAKE_SLURM_WAITS']}\n")
        elif runs(process):
            sys.stdout.write(f"{number}|RUNNING|None\n")


def scancel(arguments):
    for number, process in jobs():
        if number in arguments:
            write(number, -1)
            if process > 0 and runs(process):
                os.killpg(process, signal.SIGTERM)


def write(number, process):
    """At once, for somebody may be reading."""
    whole = FOLDER / f"{number}.new"
    whole.write_text(str(process))
    whole.replace(FOLDER / f"{number}.job")


def jobs():
    """Numbers and process groups of jobs that are not cancelled; 0 for one that waits."""
    found = ((path.stem, int(path.read_text())) for path in sorted(FOLDER.glob("*.job")))
    return [(number, process) for number, process in found if process >= 0]


def runs(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    {"sbatch": sbatch, "squeue": squeue, "scancel": scancel}[Path(sys.argv[1]).name](sys.argv[2:])
