"""What HTTP asks of every route: problems, bodies, ranges, ids, limits."""
