"""What people who score videos do before and after: combine, tracks, visualise, filter, fix."""
