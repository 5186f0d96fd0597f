"""Which torch a module that was built for one serves."""


def serves(built_for: str, installed: str) -> bool:
    """Whether both are of one minor version: torch's C++ interface may change with the next."""
    return _minor(built_for) == _minor(installed)


def _minor(version: str) -> list[str]:
    return version.split("+")[0].split(".")[:2]
