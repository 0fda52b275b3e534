"""`bvx run`: texts or JSON Lines in, answers out, whatever the task."""
