"""What opens over the views."""
