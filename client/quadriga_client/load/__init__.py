"""Load on any server of the Open Inference Protocol, and what can be said of it. Runs in the command's process.

    options.py      what a test is to be: target.py, plan, settings                            pure
    session.py      one test, from its options to its report
    payload.py      the request, made once; the server's first answer to it
    arrivals.py     when requests are due: closed loops, Poisson, constant rates, traces       pure
    source.py       what makes load and gives samples.py; engine/ does                         generator processes
    ceiling.py      what the engine can do at all
    measurement.py  one level of load, from its start to its row
    statistics/     samples into that row                                                      pure
    saturation.py   whether a row is the generator's: by its lag, or by what scheduling.py knows of its CPUs
    levels.py       levels of load, as texts give them                                         pure
    slo.py          objectives, and the highest rate at which one holds                        pure
    server_side.py  the server's own story of a time: server_reading.py of its metrics_page.py, or by ModelStatistics
    fingerprint.py  the machine and the packages
    mlperf/         MLPerf's scenarios, by its own load generator                            a process of its own
    report.py       rows, and all that a reader needs to believe them
    formats/        the report as JSON, CSV, Markdown and a page

A request's latency counts from when it was due, not from when it was sent: one that waits behind a stalled server
counts, as it does for the user who made it.
"""
