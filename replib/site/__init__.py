"""The book: generated pages, assembly of its sources, and the call of jupyter-book."""
