"""What every verb shares: the notice, exit codes, one place that turns errors into messages."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

NOTICE = "Research use only, not a medical device: a qualified reader decides."

DONE, SOME_REFUSED, USAGE, FAILED = 0, 1, 2, 3


def guarded(app: Callable[..., Any]) -> int:
    """Run a typer app; errors of ours become one line on stderr and an exit code."""
    from hilum.core.errors import ConfigError, HilumError, InputRefused

    try:
        app()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else DONE
    except InputRefused as error:
        print(f"hilum: refused: {error}", file=sys.stderr)
        return SOME_REFUSED
    except ConfigError as error:
        print(f"hilum: {error}", file=sys.stderr)
        return USAGE
    except HilumError as error:
        print(f"hilum: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("hilum: interrupted; what was finished is kept, run again to go on", file=sys.stderr)
        return FAILED
    return DONE


def print_json(value: object) -> None:
    """One JSON document on stdout, for machines."""
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


def cores() -> int:
    """Cores this process may use, at most 8: what `--workers 0` stands for."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(8, len(affinity(0)) if affinity else os.cpu_count() or 1)
