"""Steps of whole models, on one chip or several."""
