"""Faults to be put into the real classes of scheduling, in the process of pytest: a table for each thing they break."""
