"""Amazon's own client, boto3: `make ENDPOINT KEY SECRET BUCKET`, `fetch ENDPOINT KEY SECRET BUCKET PREFIX FOLDER`."""
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

import counting

verb, endpoint, key, secret, bucket = sys.argv[1:6]
client = boto3.client(
    "s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1",
    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
)
if verb == "make":
    # A server that has just started may answer before its parts know each other: an object must go in and out.
    for left in range(60, -1, -1):
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as error:
            if "BucketAlready" not in str(error) and not left:
                raise
        try:
            client.put_object(Bucket=bucket, Key="probe", Body=b"probe")
            client.delete_object(Bucket=bucket, Key="probe")
            break
        except ClientError:
            if not left:
                raise
            time.sleep(0.25)
else:
    prefix, folder = sys.argv[6:]
    count = counting.Count(folder)
    heads = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            got = client.get_object(Bucket=bucket, Key=entry["Key"])
            count.take(entry["Key"], got["Body"].read())
            heads[entry["Key"]] = {"type": got.get("ContentType"), "encoding": got.get("ContentEncoding")}
    uploads = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
    count.say(heads=heads, unfinished=len(uploads))
