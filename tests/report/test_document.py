import json

import pytest
from pydantic import BaseModel

from edgekd.core import InputError
from edgekd.report import Document, document_schema, read


def undocumented(part):
    """Names of fields that the schema does not know, anywhere below ``part``."""
    found = list(part.model_extra or {})
    for value in part.__dict__.values():
        for one in value if isinstance(value, list) else [value]:
            found += undocumented(one) if isinstance(one, BaseModel) else []
    return found


def test_every_field_of_a_run_is_in_the_schema(run):
    assert undocumented(read(run)) == []


def test_the_schema_promises_the_fields_of_schema_1():
    schema = document_schema()
    promised = {"schema", "verdict", "exit_code", "run", "recipe", "resume", "unmeasured", "targets", "stages"}
    assert promised <= set(schema["required"])
    assert {"error", "bundle", "report", "environment", "started", "seconds", "test_opened", "data"} <= set(schema["properties"])
    parts = schema["$defs"]
    assert set(parts["GatePart"]["required"]) == {"metric", "bound", "limit", "value", "low", "high", "verdict", "why"}
    assert set(parts["MeasurementPart"]["required"]) == {"name", "value", "unit", "n", "low", "high"}
    assert set(parts["ArtifactPart"]["required"]) == {"kind", "path", "sha256", "bytes"}
    assert parts["StagePart"]["properties"]["status"]["enum"] == ["done", "cached", "failed", "skipped"]
    assert parts["Verdict"]["enum"] == ["PASS", "FAIL", "INCONCLUSIVE", "NOT_MEASURED", "WAIVED"]
    json.dumps(schema, allow_nan=False)


def test_a_document_survives_reading_and_writing(run, document):
    assert read(run).model_dump(mode="json", by_alias=True, exclude_unset=True) == document


def test_a_later_field_is_no_reason_to_refuse_a_document(document):
    later = Document.model_validate({**document, "invented_later": 1})
    assert later.name == Document.model_validate(document).name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema"),
        ({"verdict": "GREAT"}, "verdict"),
        ({"exit_code": "three"}, "exit_code"),
        ({"seconds": float("nan")}, "seconds"),
        ({"stages": [{"name": "teacher"}]}, "stages.0.status"),
    ],
)
def test_a_wrong_field_is_named(run, document, change, said):
    (run / "report.json").write_text(json.dumps({**document, **change}))
    with pytest.raises(InputError, match="not an edgekd report") as caught:
        read(run)
    assert said in caught.value.seen
    assert caught.value.where == str(run / "report.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_what_is_no_document_is_refused_with_its_path(run, content):
    (run / "report.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(run)
    assert caught.value.where == str(run / "report.json")


def test_a_folder_without_a_run_and_no_folder_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        read(tmp_path)
    with pytest.raises(InputError, match="no such run folder"):
        read(tmp_path / "absent")
