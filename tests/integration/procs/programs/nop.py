"""Does nothing."""


def main(argv: list[str]) -> None:
    return None
