"""The main loop of a party in its own process: it reads a JSON command from each line, and answers with a line of JSON.

Byte strings are sent as base64. Answers are {"ok": ...}, or {"error": {"major", "status", "minor", "text"}} for an error from the
party's library, or {"broken": traceback} for any other failure, which becomes a test error on the other side.
"""

import base64
import json
import sys
import traceback


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text is None else base64.b64decode(text)


def serve(party, expected, describe):
    """Answer until the input ends. The public methods of `party` are the commands; `describe` converts an exception of the type
    `expected` to plain data."""
    for line in sys.stdin:
        print(json.dumps(answer(party, line, expected, describe)), flush=True)


def answer(party, line, expected, describe):
    command = json.loads(line)
    try:
        return {"ok": getattr(party, command.pop("do"))(**command)}
    except expected as error:
        return {"error": describe(error)}
    except Exception:
        return {"broken": traceback.format_exc()}
