"""The tabs of the page: ONE FILE = ONE TAB."""
