"""What all tables hang on, and the version of their schema.

A change of any table raises `SCHEMA_VERSION` once a release and brings a migration in `resources.migrations`.
"""

import sqlalchemy as sa

SCHEMA_VERSION = 3

metadata = sa.MetaData()
