"""The rules: pure functions and models. No Dagster, no network, no files, no clock of its own."""
