"""The loop of a party that is a process of its own: a JSON command per line in, a JSON answer per line out.

Byte strings travel as base64. Answers are {"ok": ...} or {"error": {"major", "status", "minor", "text"}} for an error that the
library under the party reports; anything else that goes wrong is {"broken": traceback}, which the other end turns into a
test error.
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
    """Answer until the input ends. The public methods of `party` are the commands; `describe` turns an exception of the type
    `expected` into plain data."""
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
