"""A web application whose slow work is jobs: see README.md."""
