"""The parts that the tabs are built of: ONE FILE = ONE COMPONENT, or one family of them."""
