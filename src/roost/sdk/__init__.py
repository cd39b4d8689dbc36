"""What a Python program uses to enqueue jobs and to run them; it knows the API contract and no store."""
