"""The `asymformer` command. Each subcommand is one module with `add_parser(subparsers)` and `run(args) -> int`."""
