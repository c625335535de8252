"""The rendered faces: geometry, surface and light."""

SOURCE = "rendered by ganmut"  # what files of rendered faces say of themselves
