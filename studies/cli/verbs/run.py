"""``attnflow run``: simulate one design."""

from __future__ import annotations

from studies.cli.options import AlgorithmName, DesignOptions, ScenarioName, design_point, with_design_options
from studies.cli.output import EXIT_DESIGN_FAILS, EXIT_OK, JsonFlag, QuietFlag, emit
from studies.cli.verb import verb


@verb("run", order=10)
@with_design_options
def run(
    algorithm: AlgorithmName,
    design: DesignOptions,
    served: ScenarioName = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Simulate one design: its time, what it waits for, and the error of its values against the float64 oracle.

    Example: attnflow run flash.q_outer --chip h100 --workload llama3-8b --seq-len 8192 --timing-only
    """
    point = design_point(algorithm, design.of_scenario(served))
    from studies.families.evaluate import evaluate
    from studies.running.warm_up import announce_kernels

    announce_kernels(point, quiet=quiet)
    evaluation = evaluate(point)
    emit(evaluation.describe, evaluation.text, as_json=as_json)
    return EXIT_DESIGN_FAILS if evaluation.stuck else EXIT_OK
