"""The report of a study: one HTML file that opens offline.

`write_report` writes it. A part of the page is one module in `studies.report.sections` with one decorator, see
`studies.report.registry`; something that a script draws is one file in ``assets/scripts/views``.
"""

from studies.report.page import write_points, write_report
from studies.report.reading import read_points

__all__ = ["read_points", "write_points", "write_report"]
