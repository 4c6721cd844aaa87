"""What `attnflow bench` measures: every module of this package registers its benchmarks."""
