"""What is remembered of a visitor: faces, and the edits that can be undone. In memory only."""
