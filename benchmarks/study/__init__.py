"""The study behind `make study`: an article's comparison of TensorFlow, Keras and PyTorch, measured again.

    lines.py            code per network                        pure
    training.py         seconds per epoch, and accuracy         zoo jobs, one framework each
    ways.py             calls as each framework's reader writes them, and the backends that serve the same files
    naive.py            those calls in turns                    a process each
    naive_server.py     such a call behind gRPC                 a process of its own
    served.py           servers under load
    figures.py          all that was measured: docs/study.json  pure
    findings.py         sentences that follow from figures      pure
    writing.py          docs/study.md, and the page

What compares takes turns within a round, and is compared round by round. `make_study.py`, beside this folder, runs it.
"""
