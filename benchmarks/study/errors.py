"""What ends the study."""


class StudyError(Exception):
    """Something cannot be measured, or what was to be compared is not equal; one line for who started it."""
