"""What people look at: pictures and listings."""
