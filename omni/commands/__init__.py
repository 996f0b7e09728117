"""One module per subcommand of `omni`; omni.cli imports the one that is called."""
