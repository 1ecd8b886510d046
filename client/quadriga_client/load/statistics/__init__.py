"""Samples into figures, and what may be said of them. Pure.

windows.py      pieces of time, and what ended in them
agreement.py    where windows agree, the warm-up is over; whether those after it do too
accounts.py     requests that are under way when the measured time ends
keeping_up.py   whether a server keeps up with an open loop
nearest_rank.py, histogram.py   percentiles
intervals.py    confidence intervals, of blocks as long as correlation.py says
rows.py         all of this as a row of the report, with the sentences of notes.py
"""
