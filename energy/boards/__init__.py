"""Board descriptions: one TOML file a board, read by `energy.board`."""
