"""Load itself: generator processes, and the HTTP/2 that they speak.

    fleet.py        all generators, as the command's process sees them; `source.py` says what it is for
    child.py, messages.py   how such processes start and end, and what goes through their pipes
    interrupts.py   Ctrl-C and SIGTERM wait while what was read is put away
    generator.py    one of them: due requests out, answers in; recorder.py sends on what it saw    generator processes
    pool.py           its connections
    http2.py            one of them: dialing.py, frames.py and frame_writer.py, headers.py
    streams.py, stream_table.py, answers.py   its requests, and what became of them
    echo.py         a server that answers at once, with echo_connection.py                         a process of its own

The garbage collector, numbers of other clocks and waiting for pipes are kept out of what is between two answers: it is
added to the latencies that are measured.
"""
