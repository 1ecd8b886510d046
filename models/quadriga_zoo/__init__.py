"""Networks of the demo and load tests: their data, training and export to the four formats."""
