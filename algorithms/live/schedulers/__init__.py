"""Schedulers: who is in the next step of a replica, one file each."""
