"""Who may do what: roles and permissions, projects, and the audit log of every change."""
