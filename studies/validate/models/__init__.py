"""Steps of whole models against published and measured ones; nothing is fitted per model, layer or batch."""
