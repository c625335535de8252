"""The Space: `ui` lays out, `service` holds the editors, `security` checks, `pad` is the gamut."""
