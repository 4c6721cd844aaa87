"""``attnflow explain``: what binds a design."""

from __future__ import annotations

from studies.cli.options import AlgorithmName, DesignOptions, ScenarioName, design_point, with_design_options
from studies.cli.output import EXIT_DESIGN_FAILS, EXIT_OK, JsonFlag, QuietFlag, emit
from studies.cli.verb import verb


@verb("explain", order=50)
@with_design_options
def explain(
    algorithm: AlgorithmName,
    design: DesignOptions,
    served: ScenarioName = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Stalls and the critical path, or on a chip the bounds; what binds; and levers that were tried.

    Example: attnflow explain flash.q_outer --chip h100 --workload llama3-8b --seq-len 8192
    """
    point = design_point(algorithm, design.of_scenario(served))
    from studies.families.evaluate import explain as explain_point
    from studies.running.warm_up import announce_kernels

    announce_kernels(point, quiet=quiet, engine="compiled")
    explanation = explain_point(point)
    emit(explanation.describe(), explanation.text, as_json=as_json)
    return EXIT_DESIGN_FAILS if explanation.stuck else EXIT_OK
