"""attnflow.studies: command line, sweeps, stores and reports.

From a question to a report in five lines::

    from studies import Study

    study = Study.from_yaml("studies/configs/lanes.yaml")
    results = study.sweep("out/lanes.sqlite")
    print(results.best("cycles"), results.front())
    results.report("out/lanes.html")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.api import Study
    from studies.results import Results

__all__ = ["Results", "Study"]


def __getattr__(name: str) -> object:
    # late, because the command line imports this package and has to start at once
    if name == "Study":
        from studies.api import Study

        return Study
    if name == "Results":
        from studies.results import Results

        return Results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
