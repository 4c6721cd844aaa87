"""Reads files of cases: JSON, checked against a model, with the line of everything that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from hwmodels.reading.documents import read_text
from hwmodels.reading.errors import InputError, Problem

M = TypeVar("M", bound=BaseModel)

LARGEST_FILE_BYTES = 256 << 20


def load_case_file(path: Path, model: type[M]) -> M:
    """The JSON document at `path` as a `model`.

    Raises
    ------
    InputError
        The file cannot be read, is not JSON, or does not fit the model; one line per problem.
    """
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise InputError(Problem(f"larger than {LARGEST_FILE_BYTES >> 20} MiB", str(path)))
        text = path.read_text(encoding="utf-8")
        return model.model_validate(json.loads(text))
    except OSError as error:
        raise InputError(Problem(error.strerror or "cannot be read", str(path))) from None
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"is not JSON: {error.msg}", str(path), error.lineno)) from None
    except (UnicodeDecodeError, RecursionError):
        raise InputError(Problem("is not a JSON text", str(path))) from None
    except ValidationError:
        # parsed again by the slower reader, which knows the lines
        return read_text(text, str(path)).validate(model)
