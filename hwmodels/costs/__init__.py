"""Energy and area, by component and node, with the tables they come from."""
