"""How long steps of a replica take, and what energy: terms that are simulated, tables, drafts, pools in turns."""
