"""The study behind `make study`: an article's comparison of TensorFlow, Keras and PyTorch, measured again.

    lines.py            code per network                        pure
    training.py         seconds per epoch, and accuracy
    trainee.py          one training                            a process each, one framework each
    ways.py             calls as each framework's reader writes them, and the backends that serve the same files
    naive.py            those calls in turns                    a process each
    naive_server.py     such a call behind gRPC                 a process of its own
    served.py           servers under load
    blocks.py           a server's turn
    others.py           what else ran meanwhile
    figures.py          all that was measured: docs/study.json  pure
    ratios.py           ratios, and what many of them show      pure
    claims.py           the article's finding under conditions  pure
    answer.py           over all of them                        pure
    findings.py         sentences that follow from figures      pure
    reasons.py          why, likewise                       pure
    tables.py           of the study                            pure
    plots.py            of the page                             pure
    writing.py          docs/study.md, and the page

What compares takes turns within a round, and is compared round by round. `make_study.py`, beside this folder, runs it.
"""
