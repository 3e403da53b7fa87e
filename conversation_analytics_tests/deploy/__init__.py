"""What deploy/ holds, checked and run without containers."""
