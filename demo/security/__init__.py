"""What protects the page: which requests, values and files are let in, and how much of the server
each visitor gets."""
