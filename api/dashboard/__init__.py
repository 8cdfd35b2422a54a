"""The dashboard: the page that the API serves at `/`, in files that need no build step."""
