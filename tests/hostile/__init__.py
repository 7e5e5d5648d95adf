"""Inputs that mean no good, by name and in any number, and the judge of what a server makes of them."""
