"""What people look at: timelines, traces and drawings of a graph and its run."""
