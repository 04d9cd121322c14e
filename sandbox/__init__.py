"""A strict, seeded WhatsApp Cloud API on localhost.

It stands in for Meta in the demo, the tests and the benchmarks. It shares no code with the rest of the project, so that
a mistake about Meta's rules cannot hide on both sides of the wire.

The way of a send through the folder: `sends` (the door) -> `faults` -> `rules` and `components` (what Meta refuses) ->
`limits` -> `world` (accepts it) -> `population` (what the person does) -> `acts` -> `webhooks` -> `outbox` (posted).
"""

from sandbox.config import Config

__all__ = ["Config"]
