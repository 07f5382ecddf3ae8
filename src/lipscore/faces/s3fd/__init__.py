"""S3FD, the face detector of the published protocols."""
