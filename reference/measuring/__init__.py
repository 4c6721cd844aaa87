"""What is measured on real hardware, by which protocol, and what a record says of its machine."""
