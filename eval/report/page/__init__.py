"""The report page: one HTML file that holds a run's results, or several runs' side by side."""
