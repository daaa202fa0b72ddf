"""What is asked of the operating system: whole files, signals, memory and CPUs."""
