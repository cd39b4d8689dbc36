"""What a batch is made of: one module for each kind of work, each a constant number of statements."""
