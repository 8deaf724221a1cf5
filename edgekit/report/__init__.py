"""What a run measured, written for a machine (JSON), a CI job (JUnit) and a person (HTML).

All three say the same: they are written from one `schema.Report`.
"""
