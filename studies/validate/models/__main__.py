"""``python -m studies.validate.models FOLDER``: scores of whole steps against the tables in a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from studies.validate.models.cases import gpt_fast, sampled, silicon_points, splitwise
from studies.validate.models.score import page, predicted


def main() -> None:
    """Print the page of errors."""
    parser = argparse.ArgumentParser(description="Scores of whole steps against measured ones.")
    parser.add_argument("folder", type=Path, help="with end_to_end/silicon_points.csv.gz and splitwise_whole_model.csv")
    parser.add_argument("--sample", type=int, default=200, help="rows of each table")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    cases = list(gpt_fast())
    points = list(silicon_points(given.folder))
    for group in dict.fromkeys(case.group for case in points):
        cases += sampled([case for case in points if case.group == group], given.sample, given.seed)
    cases += sampled(list(splitwise(given.folder)), given.sample, given.seed)
    sys.stdout.write(page([predicted(case) for case in cases]) + "\n")


if __name__ == "__main__":
    main()
