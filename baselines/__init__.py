"""Objectives of the methods that INPO is compared with; one self-contained file each."""
