"""The command line: floor 5, above everything. Nothing else in the house imports it."""
