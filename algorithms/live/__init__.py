"""Systems in time: requests arrive, wait, run in batches on a replica of a model, and leave."""
