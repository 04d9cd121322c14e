"""The commands as typer sees them: names, arguments, options, help. What they do is in the rooms of `estafette`.

What belongs here: declarations, in one module a subject, each with a function `declare(app)`. Nothing heavy is imported
before a command runs.
"""
