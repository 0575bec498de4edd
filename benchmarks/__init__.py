"""What Draft costs, measured on one machine in one run. `make bench` prints it."""
