"""Fixes that are sent together, and what is told of them."""

from typing import Any

from tests.servers import Server

SAVE_FIXES = """mutation($inputs: [SaveFixInput!]!) {
  saveFixes(inputs: $inputs) { image { pk originalFileName uuidFileName sha256 dataset { isUntrained } } }
}"""


def send_fixes(server: Server, contents: list[bytes], **others: dict[str, Any]) -> dict[str, Any]:
    """Save several; the input of number n has what `input_n` gives beside."""
    fix = {"file": None, "modelDegree": 90, "confidence": 0.5, "userFixDegree": 0}
    inputs = [{**fix, **others.get(f"input_{number}", {})} for number in range(len(contents))]
    places = {str(number): [f"variables.inputs.{number}.file"] for number in range(len(contents))}
    files = {str(number): (f"{number}.jpg", content) for number, content in enumerate(contents)}
    return server.send_form(SAVE_FIXES, {"inputs": inputs}, places, files).json()
