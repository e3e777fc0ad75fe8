"""How did the database's tables come to be what they are? One file a step, applied in order by Alembic."""
