"""State and the rules that change it: pure, by business domain. Imports `schemas` and the standard library, nothing else."""
