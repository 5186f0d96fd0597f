"""What the site says of a C or C++ header: each public name with its comment and its declaration, bodies left out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# What a declaration declares, each by its own pattern.
_NAMES = (
    r"^#define (\w+)",
    r"^\w[\w *]*\b(leakyrelu_\w+)\(",
    r"^} (\w+);",
    r"^typedef void \(\*(\w+)\)",
    r"^typedef .* (\w+);",
    r"^(?:struct|class) (\w+)",
    r"^concept (\w+)",
    r"^inline constexpr int (\w+) = 0",
    r"^(?:inline |at::|void |std::)[\w:& ]*?\b(\w+)\(",
    r"^using [\w:]+::(\w+);",
)


class Entry(NamedTuple):
    names: list[str]  # none: words alone
    comment: str
    code: str


def entries(header: str) -> Iterator[Entry]:
    """The paragraphs of a header, the one at its top first, in its order."""
    header = re.sub(r"^namespace detail \{.*?^\}  // namespace detail\n", "", header, flags=re.DOTALL | re.MULTILINE)
    header = re.sub(r'^(extern "C" \{|namespace .*\{|\} .*(extern "C"|namespace).*)\n', "", header, flags=re.MULTILINE)
    header = re.sub(r"LEAKYRELU_ENUM\((\w+)\)\{", r"enum \1 {", header)
    prefix = "LEAKYRELU_API "
    header = re.sub(
        rf"^{prefix}(.*(?:(?<=,)\n .*)*)",
        lambda code: code[1].replace("\n" + " " * len(prefix), "\n"),
        header,
        flags=re.MULTILINE,
    )
    for text in _paragraphs(header):
        found = re.match(r"(/\*.*?\*/\n?|(?://[^\n]*\n?)*)(.*)", text, re.DOTALL)
        assert found is not None
        comment, code = re.sub(r"^(/\*|//| \*/?) ?|\s*\*/$", "", found[1], flags=re.MULTILINE), _declaration(found[2])
        if code.startswith("#ifndef"):  # the guard; what stands above is about the whole header
            code = ""
        elif code.startswith("#") and not code.startswith("#define LEAKYRELU_VERSION"):
            continue
        names = [name for pattern in _NAMES for name in re.findall(pattern, code, re.MULTILINE)]
        yield Entry(list(dict.fromkeys(names)), comment.strip("\n"), code)


def page(header: Path) -> str:
    """Markdown, with a heading of the third level for each entry."""
    language = "c" if header.suffix == ".h" else "cpp"
    parts = []
    for names, comment, code in entries(header.read_text()):
        if names:
            parts.append("### " + ", ".join(f"`{name}`" for name in names))
        if code:
            parts.append(f"```{language}\n{code}\n```")
        parts += _markdown(comment)
    return "\n\n".join(parts)


def _paragraphs(text: str) -> Iterator[str]:
    """Ended by an empty line outside braces and comments."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        open_before = "\n".join(lines)
        is_open = open_before.count("{") > open_before.count("}") or open_before.count("/*") > open_before.count("*/")
        if line or is_open:
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []


def _declaration(code: str) -> str:
    """Without the bodies of functions, what is private, and words to linters."""
    code = re.sub(r"^ *// NOLINT.*\n", "", code, flags=re.MULTILINE)
    code = re.sub(r"\n^ private:\n.*?(?=^\};)", "", code, flags=re.DOTALL | re.MULTILINE)
    code = re.sub(
        r"^( *)(\w[^\n]*(?:,\n[^\n]*)*\)(?: const)?) \{\n.*?^\1\}$", r"\1\2;", code, flags=re.DOTALL | re.MULTILINE
    )
    code = re.sub(r"((?:\)|operator .*)(?: const| override)*) \{ .* \}$", r"\1;", code, flags=re.MULTILINE)
    code = re.sub(r"\)\s+: \w+\(.*$", ");", code, flags=re.MULTILINE)  # initialisers
    return code.rstrip()


def _markdown(comment: str) -> Iterator[str]:
    """Words as words, and what is set in columns as it is."""
    for paragraph in re.split(r"\n\s*\n", comment):
        words: list[str] = []
        columns: list[str] = []
        for line in paragraph.splitlines():
            if re.match(r"  |\S.*?\S {2,}\S", line):
                columns.append(line)
            else:
                words.append(line.removeprefix("---- "))
        if words:
            text = re.sub(r"\b(leakyrelu|LEAKYRELU)_\w+|\bNULL\b", r"`\g<0>`", "\n".join(words))
            yield "".join(
                part if part.startswith("`") else re.sub(r"[*_<\[\]]", r"\\\g<0>", part)
                for part in re.split(r"(`[^`]*`)", text)
            )
        if columns:
            yield "```text\n" + "\n".join(columns) + "\n```"
