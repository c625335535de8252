"""The Space: `app` lays out, `service` holds the editors, `security` checks what comes in."""
