"""Temporary files, and files that replace others."""
