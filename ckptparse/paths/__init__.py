"""What a path that a user gives refers to."""
