"""The `asymformer` command. Each subcommand is one module with `add_arguments(parser)` and `run(args) -> int`."""
