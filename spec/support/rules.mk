# Targets that are not builds. See `make help`.
