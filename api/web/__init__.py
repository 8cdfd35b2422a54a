"""HTTP for every route: problem documents, bodies, ranges, ids, limits."""
