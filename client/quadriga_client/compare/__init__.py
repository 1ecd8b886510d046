"""A comparison of models that answer alike, on one server or several. Runs in the command's process.

    contestants.py    [NAME=]MODEL[:VERSION][@HOST:PORT]                                      pure
    options.py        what a comparison is to be                                              pure
    session.py        from options to the report:
    answers.py          the first contact with each: what it is, and its answers
    shared_inputs.py    the same inputs for all, in each one's own requests
    agreement.py        whether they answer alike, element by element                         pure
    awake.py            which of them are loaded meanwhile
    blocks.py           how long the blocks are, and their order: rounds of ABBA              pure
    contest.py          block after block: warm_up.py, timing.py; neighbours.py: who else calls the server
    verdict.py          from blocks to medians, intervals and verdicts; measures.py, factors.py    pure
    changes.py          beside an older report                                                pure
    comparison.py     the report, with likeness.py, standings.py and change.py; formats/ writes it

Models that do not answer alike are not timed, unless the user wants it. A winner is named only where that is shown.
"""
