"""The Space: `app` lays out, `service` holds the editors, `security` and `requests` check."""
