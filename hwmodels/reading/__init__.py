"""How cited documents and quantities are read, and how faults in them are told."""
