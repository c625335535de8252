"""The rendered faces: geometry, surface and light."""
