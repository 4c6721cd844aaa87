"""attnflow.algorithms: what streams: workloads, attention graphs and KV policies."""
