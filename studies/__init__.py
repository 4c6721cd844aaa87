"""attnflow.studies: command line, sweeps, stores and reports."""
