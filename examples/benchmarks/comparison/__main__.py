"""One measured task in a process of its own: `python -m comparison own.fit '{"train": ...}' result.json`."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path


def main() -> None:
    name, arguments, output = sys.argv[1:]
    module, function = name.split(".")
    result = getattr(import_module(f"comparison.{module}"), function)(**json.loads(arguments))
    Path(output).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
