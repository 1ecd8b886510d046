"""Load on any server of the Open Inference Protocol, and what can be said of it. Runs in the command's process.

    arrivals.py     when requests are due: closed loops, Poisson, constant rates, traces       pure
    fleet.py        generator processes, and what they send back: samples.py
    generator.py      one of them: due requests out, answers in, over http2.py               generator processes
    child.py, messages.py   how such processes start and end, and what goes through their pipes
    echo.py         a server that answers at once, for ceiling.py: the generators' own       a process of its own
    windows.py      samples into windows; where three agree, the warm-up is over               pure
    measurement.py  one level of load, from its start to its row
    mlperf/         MLPerf's scenarios, by its own load generator                            a process of its own
    report.py       rows, and all that a reader needs to believe them

A request's latency counts from when it was due, not from when it was sent: one that waits behind a stalled server
counts, as it does for the user who made it.
"""
