"""The Space: `ui` lays out, `service` holds the editors, `guard` checks, `pad` draws the gamut."""
