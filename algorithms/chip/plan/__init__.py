"""Plans of what cores do: tiles, steps, parameters and published kernels, without a clock."""
