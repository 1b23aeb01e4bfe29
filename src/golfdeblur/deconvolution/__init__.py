"""Eqs. 2 and 5 of the paper, k * x = y: the kernel k, the data term and its solvers, and whether one kernel will do."""
