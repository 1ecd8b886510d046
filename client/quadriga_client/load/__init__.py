"""Load on any server of the Open Inference Protocol, and what can be said of it. Runs in the command's process.

    options.py      what a test is to be: target, plan, settings                               pure
    session.py      one test, from its options to its report
    payload.py      the request, made once; the server's first answer to it
    arrivals.py     when requests are due: closed loops, Poisson, constant rates, traces       pure
    fleet.py        generator processes, and what they send back: samples.py
    generator.py      one of them: due requests out, answers in                              generator processes
    pool.py           its connections, each an http2.py with a stream_table.py and answers.py
    child.py, messages.py   how such processes start and end, and what goes through their pipes
    echo.py         a server that answers at once, for ceiling.py: the generators' own       a process of its own
    windows.py      samples into windows                                                       pure
    agreement.py    where windows agree, the warm-up is over; whether those after it do too    pure
    saturation.py   whether a row is the generator's: by its lag, or by what scheduling.py knows of its CPUs
    intervals.py    confidence intervals: blocks as long as correlation.py says; histogram.py    pure
    accounts.py     requests that are under way when the measured time ends                    pure
    keeping_up.py   whether a server keeps up with an open loop                                pure
    measurement.py  one level of load, from its start to its row: rows.py, with the sentences of notes.py
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
