"""The expression model of photographs: landmarks of a crop, and edits drawn from them."""
