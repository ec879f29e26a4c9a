"""How the process is: health, measures, the dashboard's numbers, the machine and its clock."""
