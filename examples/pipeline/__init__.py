"""A site's 500 pages, fanned out and gathered again: see README.md."""
