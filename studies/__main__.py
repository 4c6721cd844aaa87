"""``python -m studies`` is the command line `attnflow`."""

from studies.cli import entry

if __name__ == "__main__":
    entry()
