"""The subcommands of `quadriga`, one module each, imported when they are used."""
