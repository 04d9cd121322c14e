"""The doors out: settings, ledger, lake, landing zone, Cloud API, analyst database. Plain modules, no Dagster."""
