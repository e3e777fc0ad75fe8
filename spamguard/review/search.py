"""In which index are the words of a text kept? SQLite's FTS5, or PostgreSQL's GIN over tsvector: one table, two lives.

The terms are cut by us (`texts`), so neither database's own idea of a word matters, and both find the same.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, text

from spamguard.review.texts import query_terms, terms


def add(connection: Connection, rows: Sequence[tuple[int, str]]) -> None:
    """Let items be found by the words of their texts."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        statement = text("INSERT INTO item_words (rowid, words) VALUES (:seq, :words)")
        connection.execute(statement, [{"seq": seq, "words": " ".join(terms(said))} for seq, said in rows])
    else:
        statement = text(
            "INSERT INTO item_words (rowid, words) VALUES (:seq, array_to_tsvector(CAST(:words AS text[])))"
        )
        connection.execute(statement, [{"seq": seq, "words": terms(said) or ["\u2205"]} for seq, said in rows])


def forget(connection: Connection, seqs: Sequence[int]) -> None:
    """Let items no longer be found."""
    if seqs:
        connection.execute(text("DELETE FROM item_words WHERE rowid = :seq"), [{"seq": seq} for seq in seqs])


def words(connection: Connection, query: str) -> ColumnElement[bool] | None:
    """Return the condition that an item's text has all words of a query; None when there are none in it.

    Terms are letters, figures and Han characters alone, so nothing of the query is read as an operator.
    """
    wanted = query_terms(query)
    if not wanted:
        return None
    if connection.dialect.name == "sqlite":
        said = " AND ".join(f'"{term}"{" *" if longer else ""}' for term, longer in wanted)
        condition = "items.seq IN (SELECT rowid FROM item_words WHERE item_words MATCH :words)"
    else:
        said = " & ".join(f"'{term}'{':*' if longer else ''}" for term, longer in wanted)
        condition = "items.seq IN (SELECT rowid FROM item_words WHERE words @@ CAST(:words AS tsquery))"
    return text(condition).bindparams(words=said)  # type: ignore[return-value]  # a condition as it is
