"""How the page starts: its environment, what it answers meanwhile, and what it opens with.

`environment`, `quick_import` and `waiting` are imported before gradio and torch and import neither.
"""
