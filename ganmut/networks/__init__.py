"""Networks and settings that several methods share."""
