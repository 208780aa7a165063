"""Every call of Cloudflare's Python SDK to Logpush, against a jobs API.

Arguments: base URL (…/client/v4), a token with all rights, a file:// destination that may be written to.
"""
import sys

import cloudflare

BASE, TOKEN, DESTINATION = sys.argv[1:4]
FILTER = '{"where":{"key":"EdgeResponseStatus","operator":"geq","value":500}}'
client = cloudflare.Cloudflare(api_token=TOKEN, base_url=BASE, max_retries=0)
logpush = client.logpush


def refused(kind, code, call):
    """The error that a call must end with; its code is Cloudflare's or ours."""
    try:
        call()
    except kind as error:
        assert [told.code for told in error.errors][:1] == [code], error
        return error
    raise AssertionError(f"{code} was expected")


def life_of_a_job(**scope):
    """Create, read, change, list, delete."""
    made = logpush.jobs.create(
        destination_conf=DESTINATION,
        dataset="http_requests",
        enabled=False,
        name="sdk.python",
        filter=FILTER,
        kind="",
        frequency="high",
        max_upload_bytes=5000000,
        max_upload_records=1000,
        max_upload_interval_seconds=30,
        output_options={
            "field_names": ["ClientIP", "RayID"],
            "timestamp_format": "rfc3339",
            "output_type": "ndjson",
            "sample_rate": 0.5,
            "cve_2021_44228": True,
        },
        **scope,
    )
    assert made.id and made.name == "sdk.python" and made.enabled is False, made
    assert made.output_options.field_names == ["ClientIP", "RayID"], made
    assert made.output_options.cve_2021_44228 is True, made
    assert (made.max_upload_bytes, made.max_upload_records, made.max_upload_interval_seconds) == (5000000, 1000, 30)
    assert (made.last_complete, made.last_error, made.error_message) == (None, None, None), made
    assert logpush.jobs.get(made.id, **scope) == made
    changed = logpush.jobs.update(made.id, enabled=True, **scope)
    assert changed.enabled is True and changed.output_options == made.output_options, changed
    changed = logpush.jobs.update(
        made.id, destination_conf=DESTINATION + "/b", max_upload_bytes=0, name=None, **scope
    )
    assert changed.max_upload_bytes is None and changed.name is None, changed
    assert changed.destination_conf == DESTINATION + "/b", "this token sees what it wrote"
    for jobs in (logpush.jobs.list(**scope), logpush.datasets.jobs.get("http_requests", **scope)):
        assert made.id in [job.id for job in jobs]
    exists = logpush.validate.destination_exists(destination_conf=DESTINATION + "/b", **scope)
    assert exists.exists is True
    refused(cloudflare.BadRequestError, 1008, lambda: logpush.jobs.update(made.id, kind="edge", **scope))
    gone = logpush.jobs.delete(made.id, **scope)
    assert gone.id == made.id, gone
    refused(cloudflare.NotFoundError, 1006, lambda: logpush.jobs.get(made.id, **scope))
    assert made.id not in [job.id for job in logpush.jobs.list(**scope)]


def tries(**scope):
    """Fields, validation, ownership."""
    fields = logpush.datasets.fields.get("http_requests", **scope)
    assert "ClientRequestHost" in fields, fields
    good = logpush.validate.destination(destination_conf=DESTINATION, **scope)
    assert good.valid is True and good.message == "", good
    bad = logpush.validate.destination(destination_conf="nonsense", **scope)
    assert bad.valid is False and bad.message, bad
    exists = logpush.validate.destination_exists(destination_conf=DESTINATION + "/nobody", **scope)
    assert exists.exists is False
    origin = logpush.validate.origin(logpull_options="fields=RayID&timestamps=rfc3339", **scope)
    assert origin.valid is True, origin
    sent = logpush.ownership.create(destination_conf=DESTINATION, **scope)
    assert sent.valid is True and sent.filename.endswith("ownership-challenge.txt"), sent
    with open("/" + sent.filename) as file:
        token = file.read()
    proof = dict(destination_conf=DESTINATION, ownership_challenge=token)
    assert logpush.ownership.validate(**proof, **scope).valid is True
    wrong = dict(destination_conf=DESTINATION, ownership_challenge=token + "x")
    assert logpush.ownership.validate(**wrong, **scope).valid is False
    made = logpush.jobs.create(**proof, **scope)
    logpush.jobs.delete(made.id, **scope)
    refused(cloudflare.BadRequestError, 1002, lambda: logpush.jobs.create(**wrong, **scope))


def mistakes(**scope):
    """What is refused, and who is."""
    error = refused(
        cloudflare.BadRequestError,
        1001,
        lambda: logpush.jobs.create(destination_conf="", name="a_b", max_upload_records=1, **scope),
    )
    assert len(error.errors) == 3, error
    nobody = cloudflare.Cloudflare(api_token="nobody", base_url=BASE, max_retries=0)
    refused(cloudflare.AuthenticationError, 10000, lambda: nobody.logpush.jobs.list(**scope))
    refused(cloudflare.NotFoundError, 1003, lambda: logpush.datasets.fields.get("dns_logs", **scope))
    old = cloudflare.Cloudflare(api_email="a@example.com", api_key=TOKEN, base_url=BASE, max_retries=0)
    list(old.logpush.jobs.list(**scope))


for scope in (dict(zone_id="023e105f4ecef8ad9ca31a8372d0c353"), dict(account_id="9a7806061c88ada191ed06f989cc3dac")):
    life_of_a_job(**scope)
    tries(**scope)
    mistakes(**scope)
print(f"passed: cloudflare {cloudflare.__version__} for Python")
