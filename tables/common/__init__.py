"""What all domains share: tables, policies, calendars, money, the ERP's rows, and how an exception is raised."""
