"""What `leakyrelu` and `python -m leakyrelu` run: the command line, or what it lacks."""

import sys


def main() -> None:
    try:
        from leakyrelu import cli
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        sys.exit(f"leakyrelu: error: the command line needs {package}: pip install 'leakyrelu[cli]'")
    cli.main()


if __name__ == "__main__":
    main()
