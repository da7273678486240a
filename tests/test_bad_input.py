"""How many wrong inputs are tried, counted."""

import importlib.util
from pathlib import Path

FILES = ("settings", "files", "runs", "words")


def test_there_are_more_than_four_hundred() -> None:
    cases: list[str] = []
    for name in FILES:
        file = Path(__file__).parent / f"test_bad_{name}.py"
        spec = importlib.util.spec_from_file_location(f"counted_{name}", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        own = [f"{name}: {case}" for case in module.CASES]
        assert len(set(own)) == len(own), [case for case in own if own.count(case) > 1]
        cases += own
    assert len(cases) >= 400, len(cases)
