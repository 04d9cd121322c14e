"""The nouns: contacts, events, templates, segments, deliveries, the analysts' database, as Dagster assets.

A pass writes contacts, events, deliveries and the analysts' database; these assets say what they are and hang
together, and the pass reports each materialization. Segments and templates can also be materialized by hand.
"""
