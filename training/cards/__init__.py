"""What a released model can do and what not: measured from its file, and told in its card."""
