"""The house in figures: lines, words of the faces outside their room, imports in functions, …

    make shape                                   (python tests/shape.py)

Counted are the tracked Python files outside the tests. ``core`` leaves out what stands by itself.
"""

import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

FACES = ("faces/", "TRACER/", "benchmarks/")
"""Where masks, genders and ages may be spoken of."""
APART = (*FACES, "examples/")
WORDS = re.compile(
    r"\b(gender|genders|GENDERS|MASKS|AGE_\w+|age_group|age_bin|mask_\w+|NUM_CLASSES)\b"
    r"|[\"'](mask|age|gender)[\"']"
)


def main() -> None:
    """Count and print, a figure a line."""
    tracked = subprocess.run(
        ["git", "ls-files", "*.py"], capture_output=True, text=True, check=True
    )
    files = [file for file in tracked.stdout.split() if not file.startswith("tests/")]
    texts = {file: Path(file).read_text(encoding="utf-8") for file in files}
    lines = {file: text.count("\n") for file, text in texts.items()}
    total = sum(lines.values())
    functions = [each for file, text in texts.items() for each in functions_of(file, text)]
    longest = max(functions)
    core = sum(count for file, count in lines.items() if not file.startswith(APART))
    print(f"lines outside the tests      {total}")
    print(f"  of them the core           {core}")
    leaks = [f for f, text in texts.items() if not f.startswith(FACES) and WORDS.search(text)]
    print(f"files with the faces' words  {len(leaks)}")
    print(f"imports inside functions     {sum(imports for _, _, imports in functions)}")
    print(f"longest function             {longest[0]} ({longest[1]})")
    comments = sum(map(comments_of, texts.values()))
    print(f"comments                     {100 * comments / total:.2f} % of the lines")
    docstrings = sum(map(docstring_lines_of, texts.values()))
    print(f"docstrings                   {100 * docstrings / total:.1f} % of the lines")
    filled = [len(line) for text in texts.values() for line in text.splitlines() if line.strip()]
    print(f"characters per filled line   {sum(filled) / len(filled):.1f}")


def functions_of(file: str, text: str) -> list[tuple[int, str, int]]:
    """(lines, name, imports inside) of each function of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (
            node.end_lineno - node.lineno + 1,
            f"{file}:{node.name}",
            sum(isinstance(each, ast.Import | ast.ImportFrom) for each in ast.walk(node)),
        )
        for node in ast.walk(ast.parse(text))
        if isinstance(node, kinds)
    ]


def comments_of(text: str) -> int:
    """How many comments there are; those that only steer a tool are none."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    steering = re.compile(r"#\s*(noqa|fmt:|type:)")
    return sum(t.type == tokenize.COMMENT and not steering.match(t.string) for t in tokens)


def docstring_lines_of(text: str) -> int:
    """Lines of the docstrings of a file, its classes, functions and attributes."""
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr))
    texts = (node for node in nodes if isinstance(node.value, ast.Constant))
    return sum(n.end_lineno - n.lineno + 1 for n in texts if isinstance(n.value.value, str))


if __name__ == "__main__":
    main()
