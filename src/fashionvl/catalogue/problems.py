"""What a user can put right."""


class Problem(Exception):
    """Something is wrong with what the user brought; the message says what, where, and what to do."""
