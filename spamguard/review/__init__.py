"""How does nobody lose a good message, and how can everybody see why?

The review application: what it keeps and what may be done with it. values: what comes out · tables, migrations,
database: where it is kept · intake: from the stream · store: the reviewers' queue · cases: complaints · people and
access: who may what · audit: who did what · outbox: what goes back to the stream · figures, labels, replay, retention ·
desk: all of it in one hand, which is what a page or a command receives.
"""
