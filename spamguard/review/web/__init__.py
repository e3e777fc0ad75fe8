"""What do reviewers and front-line staff see and press? Server-rendered pages over the desk, and the call centre's API.

Handlers are plain functions of a `Visit`; `doors.py` is the table of all routes with the permission each needs.
"""
