"""Views for people: timelines, traces and drawings of a graph and its run."""
