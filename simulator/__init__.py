"""attnflow.simulator: dataflow graphs, their exact timing semantics and two engines that agree on it."""
