"""Load on any server of the Open Inference Protocol, and what can be said of it. Runs in the command's process.

    arrivals.py     when requests are due: closed loops, Poisson, constant rates, traces       pure
    fleet.py        generator processes, and what they send back: samples.py
    generator.py      one of them: due requests out, answers in, over http2.py               generator processes
    echo.py         a server that answers at once: the generators' own ceiling               a process of its own
    windows.py      samples into windows; where three agree, the warm-up is over               pure
    measurement.py  one level of load, from its start to its row
    server_side.py  the server's own story of a time: server_reading.py of its metrics_page.py, or by ModelStatistics
    fingerprint.py  the machine and the packages
    report.py       rows, and all that a reader needs to believe them

A request's latency counts from when it was due, not from when it was sent: one that waits behind a stalled server
counts, as it does for the user who made it.
"""
