"""A load test's report as files. Runs in the command's process."""
