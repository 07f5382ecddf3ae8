"""The logic of the other commands: combine, tracks, visualise, filter, fix, reproduce, doctor."""
