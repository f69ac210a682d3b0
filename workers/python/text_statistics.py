"""The job: what it is called, what it takes, and what it does. Nothing here knows the broker."""

import pathlib

TYPE = "text.statistics"
ABOUT = {
    "name": "text-statistics",
    "version": "0.1.0",
    "slots": 1,
    "types": [
        {
            "job_type": TYPE,
            "description": "Count the lines, words and characters of a text or of a UTF-8 file.",
            "version": "1",
            "parameters_schema": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "source": {"type": "string", "minLength": 1}},
                "oneOf": [{"required": ["text"]}, {"required": ["source"]}],
                "additionalProperties": False,
            },
            "result_schema": {"additionalProperties": {"type": "integer"}},
        }
    ],
}


def run(report, text=None, source=None):
    lines = (pathlib.Path(source).read_text("utf-8") if source else text).splitlines(keepends=True)
    words = 0
    for number, line in enumerate(lines):
        words += len(line.split())
        report(100 * number // len(lines))
    return {"lines": len(lines), "words": words, "characters": sum(map(len, lines))}


def passing(error):
    """Whether another attempt may succeed: a file may come, but no text becomes another one."""
    return isinstance(error, OSError)
