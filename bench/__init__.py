"""What developers measure with: ``make bench``, and saved runs to compare with."""
