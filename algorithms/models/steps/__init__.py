"""Steps of whole models: batches, launches, exchanges, rates and what they hold in memory."""
